"""Plug-ins: a file in a family's folder; only the named one is imported."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from pipeline.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def names(family: str) -> list[str]:
    """List what a family such as `pipeline.sources` holds, without importing any of it."""
    folder = ROOT.joinpath(*family.split("."))
    found = (path for path in folder.iterdir() if not path.name.startswith(("_", ".")))
    return sorted(path.stem for path in found if path.suffix in (".py", ".yaml") or (path / "__init__.py").exists())


def check(family: str, name: str, key: str = "") -> str:
    """Return `name` if the family has it; raise UserError that names the config key and lists what exists."""
    known = names(family)
    if name in known:
        return name
    what = {"pipeline.geometries": "geometry"}.get(family, family.rpartition(".")[2].removesuffix("s"))
    raise UserError(f"{key + ': ' if key else ''}there is no {what} {name!r}{suggestion(name, known)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say what was probably meant and list what exists, to end an error message with."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{hint}; available: {', '.join(choices)}"


def load(family: str, name: str) -> ModuleType:
    """Import the plug-in `name` of a family."""
    return import_module(f"{family}.{check(family, name)}")


def read_table(family: str, name: str) -> dict[str, Any]:
    """Read a plug-in that is data: `<name>.yaml` of a family."""
    check(family, name)
    return yaml.safe_load(ROOT.joinpath(*family.split("."), f"{name}.yaml").read_text(encoding="utf-8"))
