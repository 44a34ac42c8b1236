"""Shared by the sources: the pictures in a folder, the expression of a class folder, names for one line of text."""

from collections.abc import Iterable
from pathlib import Path

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.storage.formats import SUFFIXES

# Besides an expression's own name; names are compared in lower case.
ALIASES = {
    "happy": Expression.HAPPINESS,
    "joy": Expression.HAPPINESS,
    "surprised": Expression.SURPRISE,
    "fearful": Expression.FEAR,
    "afraid": Expression.FEAR,
    "angry": Expression.ANGER,
    "disgusted": Expression.DISGUST,
    "sad": Expression.SADNESS,
}
CONTEMPT = frozenset({"contempt", "contemptuous"})  # the eighth expression of some datasets; not among the seven


def expression_of(folder: str) -> Expression | None:
    """Return the expression that the name of a class folder means, by its own name or an alias, or None."""
    name = folder.strip().lower()
    try:
        return ALIASES[name] if name in ALIASES else Expression.parse(name)
    except ValueError:
        return None


def is_picture(path: Path) -> bool:
    """Return whether the suffix of a file is that of an image."""
    return path.suffix.lower() in SUFFIXES


def pictures(folder: Path) -> dict[str, str]:
    """List the images directly in a folder as stem -> file name; raise UserError if two share a stem."""
    files: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not is_picture(path):
            continue
        if path.stem in files:
            raise UserError(f"{folder} holds both {files[path.stem]} and {path.name}; keep one of them")
        files[path.stem] = path.name
    return files


def subfolders(folder: Path) -> list[Path]:
    """List the visible folders directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def named(names: Iterable[str], limit: int = 5) -> str:
    """Join names for one line: all of them, or the first few and the number of the others."""
    listed = list(names)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
