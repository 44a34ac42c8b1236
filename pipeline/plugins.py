"""Plug-ins: each is a file in the folder of its family; only the named one is imported."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from au_guidance.tables import suggestion
from pipeline.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def names(family: str) -> list[str]:
    """List the plug-ins of a family such as `pipeline.sources` without importing them.

    `base.py`, which all members share, and names with an underscore do not count.
    """
    folder = ROOT.joinpath(*family.split("."))
    members = (path for path in folder.iterdir() if not path.name.startswith(("_", ".", "base.")))
    return sorted(path.stem for path in members if path.suffix in (".py", ".yaml") or (path / "__init__.py").exists())


def check(family: str, name: str, key: str = "") -> str:
    """Return `name` if the family has it; raise UserError that names the config key and lists what exists."""
    known = names(family)
    if name in known:
        return name
    what = {"au_guidance.geometries": "geometry"}.get(family, family.rpartition(".")[2].removesuffix("s"))
    raise UserError(f"{key + ': ' if key else ''}there is no {what} {name!r}{suggestion(name, known)}")


def load(family: str, name: str) -> ModuleType:
    """Import the plug-in `name` of a family."""
    return import_module(f"{family}.{check(family, name)}")


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """Read `key=value` arguments; raise UserError on one without a key or value."""
    parts = [text.partition("=") for text in texts]
    wrong = [text for text, (key, _, value) in zip(texts, parts, strict=True) if not key or not value]
    if wrong:
        raise UserError(f"--option {wrong[0]}: write it as key=value")
    return {key: value for key, _, value in parts}


def check_options(plugin: str, function: Callable[..., Any], options: Mapping[str, str]) -> None:
    """Raise UserError on an option that a plug-in's function does not take: its parameters with a default."""
    parameters = inspect.signature(function).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.default is not parameter.empty]
    for name in options:
        if name not in known:
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise UserError(f"{plugin} has no option {name!r}; {has}")
