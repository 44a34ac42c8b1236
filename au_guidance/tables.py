"""Codebooks and geometries: YAML files beside the code, by name."""

import difflib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import yaml


class TableError(ValueError):
    """A codebook or geometry that does not exist or does not fit; the message is one line that says how to fix it."""


def names(family: str) -> list[str]:
    """List the files of a family, "codebooks" or "geometries", without their ending."""
    folder = files("au_guidance") / family
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def read_table(family: str, name: str) -> dict[str, Any]:
    """Read `<family>/<name>.yaml`; raise TableError that lists the known names if it does not exist."""
    known = names(family)
    if name not in known:
        what = {"codebooks": "codebook", "geometries": "geometry"}[family]
        raise TableError(f"there is no {what} {name!r}{suggestion(name, known)}")
    table: dict[str, Any] = yaml.safe_load((files("au_guidance") / family / f"{name}.yaml").read_text("utf-8"))
    return table


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the closest of the known names, and all of them."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{hint}; available: {', '.join(choices)}"
