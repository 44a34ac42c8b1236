"""Tables, numbers and names as the page shows them: columns can be sorted, empty cells say why they are empty."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from eval.compare import compare
from eval.tables import kinds, layout, paper

Row = Mapping[Any, Any]  # of a data frame: column -> number, text or missing
MISSING = "–"
HEADINGS = {
    **kinds.HEADINGS,
    **compare.LABELS,
    "p_holm": "p (Holm)",
    "images": "faces",
    "images_with_map": "faces with map",
    "low": "95 % interval",
    "percent": "landmarks (%)",
    "against": "compared with",
    "plain": "its value",
    "guided": "value with AU",
    "seed_sd": "± seeds",
    "guidance": "AU term",
    "kind": "map",
}
NAMES = {"dataset", "protocol", "method", "variant", "guidance", "against", "metric", "kind", "attribute", "group"}
STATES = {"pending": "pending", "stale": "stale", "partial": "part"}  # of a row of eval.tables.pivot -> of its cell


@dataclass(frozen=True)
class Column:
    """A column: its heading, the heading above that it shares with its neighbours, and whether it holds numbers."""

    label: str
    above: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell: its text, its sort key (None comes last), a remark, and its state (a value of STATES, or "")."""

    text: str
    sort: float | str | None = None
    remark: str = ""
    state: str = ""


@dataclass(frozen=True)
class Block:
    """A part of a table under its own title; `same` names what all of its rows share.

    If not `opened`, it is shown after a click.
    """

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    same: str = ""
    opened: bool = True

    @property
    def above(self) -> list[tuple[str, int]]:
        """The headings above the headings, each with how many columns it spans; empty if there are none."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.above:
                spans[-1] = (column.above, spans[-1][1] + 1)
            else:
                spans.append((column.above, 1))
        return spans if any(name for name, _ in spans) else []


@dataclass(frozen=True)
class Table:
    """A table: its blocks, its notes, its CSV as a data URI, and how many rows are pending, stale or incomplete.

    If not `opened`, it is shown after a click.
    """

    name: str
    title: str
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)
    download: str = ""
    marked: dict[str, int] = field(default_factory=dict)
    opened: bool = False


def heading(name: str) -> str:
    """Return the heading of a metric or a column."""
    layer = name.removeprefix("attention_cosine_")
    if layer.isdigit():
        return f"ATT-COS, layer {layer}"
    return HEADINGS.get(name, name.replace("_", " ").replace(":", ": "))


def columns(names: Iterable[str], numbers: Iterable[str]) -> list[Column]:
    """Return columns that name something, followed by columns of numbers."""
    return [*(Column(name, numeric=False) for name in names), *map(Column, numbers)]


def number(value: float | None, decimals: int, sign: str = "") -> str:
    """Write a number with a true minus sign; an en dash if it is missing."""
    return MISSING if pd.isna(value) else f"{value:{sign}.{decimals}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Write a p value to three decimals, never as 0; an en dash if it is missing."""
    return MISSING if value is None or pd.isna(value) else compare.p_text(value)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known, None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def of_number(value: float | None, decimals: int, sign: str = "") -> Cell:
    """Return a cell that shows a number and is sorted by it."""
    return Cell(number(value, decimals, sign), value)


def beside(row: Row, *, paper: bool) -> list[Cell]:
    """Return a metric's cells: our number and, with `paper`, the paper's number and the difference."""
    places = kinds.digits(row.get("metric", ""), row.get("kind", ""))
    theirs, change = number_of(row.get("paper")), number_of(row.get("difference"))
    return [_ours(row, places), *([of_number(theirs, 2), of_number(change, places, "+")] if paper else [])]


def _ours(row: Row, places: int) -> Cell:
    if not row:
        return Cell("", None)
    value, spread, low, high = (number_of(row.get(name)) for name in ("value", "sd", "low", "high"))
    state = STATES.get(row.get("state", ""), "")
    if value is None:
        missing = state in ("pending", "stale")
        reasons = {"no_cam": "this method has no CAM", "pending": "no run yet", "stale": "of another configuration"}
        reason = reasons.get(row.get("state", ""), "no number")
        return Cell(state if missing else MISSING, None, reason, state if missing else "")
    shown = value if number_of(row.get("paper")) is None else paper.as_printed(row["metric"], value)
    text = number(shown, places) + (f" ± {number(spread, places)}" if spread is not None else "")
    if low is not None and high is not None:
        text += f" [{number(low, places)}, {number(high, places)}]"
    seeds, expected = text_of(row.get("seeds")), text_of(row.get("expected"))
    remark = f"{seeds} of {expected} seeds so far" if state else f"{seeds} seeds" if seeds not in ("", "1") else ""
    return Cell(text, value, remark, state)


def named(name: str, value: object) -> Cell:
    """Return the cell of a column that names something, such as a method or a metric."""
    text = text_of(value)
    labels = {"variant": layout.VARIANTS, "kind": kinds.MAPS, "against": layout.VARIANTS, "guidance": layout.VARIANTS}
    if name == "method":
        return Cell(layout.method_name(text), text)
    if name == "metric":
        return Cell(heading(text), text)
    return Cell(labels.get(name, {}).get(text, text) or MISSING, text or None)


def of_texts(*texts: str) -> list[Cell]:
    """Return cells that show texts and are sorted by them."""
    return [Cell(text, text or None) for text in texts]


def text_of(value: Any) -> str:
    """Return a value of a data frame as text, empty if it is missing."""
    return "" if pd.isna(value) else str(value)


def number_of(value: Any) -> float | None:
    """Return a value of a data frame, or a text, as a number; None if it is missing or no number."""
    try:
        return None if pd.isna(value) else float(value)
    except ValueError:
        return None
