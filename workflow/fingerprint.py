"""Digests of the code that a stage is made of: a real edit makes its results stale, a comment does not."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.plugins import ROOT


def fingerprint(patterns: Iterable[str]) -> str:
    """Digest what some files of the project say, without comments, docstrings and layout.

    A file of `eval/` brings those of `eval/` that it imports. Raises FileNotFoundError if a pattern matches no file.
    """
    digest = hashlib.sha256()
    for file in _with_imports([file for pattern in patterns for file in _matches(pattern)]):
        text = file.read_text(encoding="utf-8")
        digest.update((_meaning(text) if file.suffix == ".py" else text).encode())
    return digest.hexdigest()[:16]


def _matches(pattern: str) -> list[Path]:
    files = sorted(path for path in ROOT.glob(pattern) if path.is_file())
    if not files:
        raise FileNotFoundError(f"{pattern} matches no file of the project")
    return files


def _with_imports(files: list[Path]) -> list[Path]:
    """Add the modules of `eval/` that those of `eval/` import, each once."""
    found = dict.fromkeys(files)
    waiting = [file for file in files if file.suffix == ".py" and file.is_relative_to(ROOT / "eval")]
    while waiting:
        new = [file for file in _imported(waiting.pop()) if file not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                modules = [module, *(f"{module}.{alias.name}" for alias in names)]
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case _:
                continue
        for name in modules:
            place = ROOT / name.replace(".", "/")
            yield from (
                path
                for path in (place.with_suffix(".py"), place / "__init__.py")
                if name.startswith("eval.") and path.is_file()
            )


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
