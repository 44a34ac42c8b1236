"""Digests of the code that a stage runs: an edit of what it does makes its results stale, a comment does not."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

from pipeline.plugins import ROOT

PACKAGES = ("au_guidance", "pipeline", "train", "eval")
# Modules that find, report or store values and never compute one: an edit of them must not cost the landmarks of
# AffectNet, 47 core hours.
LEFT_OUT = {
    "au_guidance.tables": "finds a codebook or geometry by name and reports mistakes in it",
    "pipeline.errors": "prints errors and ends commands",
    "pipeline.plugins": "finds plug-ins by name",
    "pipeline.storage.blocks": "keeps finished blocks of a computation",
    "pipeline.storage.files": "writes files completely or not at all, with checksums",
    "pipeline.storage.shards": "stores columns; shards of earlier versions still load",
}


def fingerprint(module: str, *patterns: str) -> str:
    """Digest the code of `python -m module`, without comments, docstrings and layout.

    That is the module and all modules of PACKAGES that it imports, directly or not, except LEFT_OUT. `patterns` are
    globs below the root of the project for what imports do not show: plug-ins, with their own imports, and data files.
    `<folder>/<name>.py` also matches a plug-in that is a package. Raises FileNotFoundError if one matches no file.
    """
    return _digest(_with_imports([_main_file(module), *_matches(patterns)]))


def digest(*patterns: str) -> str:
    """Digest the files that match, without what they import; raises FileNotFoundError as `fingerprint` does."""
    return _digest(_matches(patterns))


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(_parsed(file)[0].encode() if file.suffix == ".py" else file.read_bytes())
    return total.hexdigest()[:16]


def _main_file(module: str) -> Path:
    place = module.replace(".", "/")
    return _glob(f"{place}/__main__.py" if (ROOT / place).is_dir() else f"{place}.py")[0]


def _matches(patterns: Iterable[str]) -> list[Path]:
    return [file for pattern in patterns for file in _glob(pattern)]


def _glob(pattern: str) -> list[Path]:
    places = (pattern, pattern.removesuffix(".py") + "/__init__.py")
    files = [path for place in places for path in ROOT.glob(place) if path.is_file()]
    if not files:
        raise FileNotFoundError(f"{pattern} matches no file of the project")
    return files


def _with_imports(files: Iterable[Path]) -> set[Path]:
    reached: set[Path] = set()
    pending = list(files)
    while pending:
        file = pending.pop()
        if file not in reached:
            reached.add(file)
            pending += _parsed(file)[1] if file.suffix == ".py" else ()
    return reached


@cache
def _parsed(file: Path) -> tuple[str, tuple[Path, ...]]:
    """Return what a module says, without comments and docstrings, and the project's modules that it imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = ".".join(file.relative_to(ROOT).parent.parts)
    imported = tuple(path for name in _imported_names(tree, package) if (path := _path_of(name)))
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree), imported


def _imported_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every module that the code imports anywhere in it, and every `module.name` of `from module import name`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                source = resolve_name("." * level + (module or ""), package)
                yield source
                yield from (f"{source}.{alias.name}" for alias in names)


def _path_of(name: str) -> Path | None:
    """Find the file of a module of the project; None for others, and for what is left out.

    A parent package counts only where it is imported itself: most hold a docstring, and au_guidance, which offers
    everything, would tie every stage to the loss.
    """
    if name.partition(".")[0] not in PACKAGES or name in LEFT_OUT:
        return None
    place = ROOT.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
