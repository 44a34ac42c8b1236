"""Tables as a page shows them: columns that can be sorted, and cells that say why they are empty."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from eval.report.words import digits as digits_compared
from eval.report.words import heading, number, p_value
from eval.tables import layout
from eval.tables.kinds import MAPS, digits

Row = Mapping[str, str]  # of a CSV: column -> text
NAMES = {"dataset", "protocol", "method", "variant", "guidance", "against", "metric", "kind", "attribute", "group"}
STATES = {  # of a row of eval.tables.pivot -> the word in a cell
    "pending": "pending",
    "stale": "stale",
    "partial": "part",
}


@dataclass(frozen=True)
class Column:
    """A column: its heading, the heading above it that it shares with its neighbours, and whether it holds numbers."""

    label: str
    above: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell: its text, what it is sorted by (None comes last), a remark, and a word of STATES or ""."""

    text: str
    sort: float | str | None = None
    remark: str = ""
    state: str = ""


@dataclass(frozen=True)
class Block:
    """A part of a table under its own title; `same` says what all of its rows share.

    What is not `opened` is seen after a click.
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

    `opened` tables are seen at once, the others after a click.
    """

    name: str
    title: str
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)
    download: str = ""
    marked: dict[str, int] = field(default_factory=dict)
    opened: bool = False


def beside(row: Row, *, paper: bool) -> list[Cell]:
    """Set a metric's cells: ours, and with `paper` the paper's number and the difference."""
    places = digits(row.get("metric", ""), row.get("kind", ""))
    theirs, change = value(row.get("paper")), value(row.get("difference"))
    more = [Cell(number(theirs, 2), theirs), Cell(number(change, places, "+"), change)] if paper else []
    return [_ours(row, places), *more]


def _ours(row: Row, places: int) -> Cell:
    if not row:
        return Cell("", None)
    mean, spread, low, high = (value(row.get(name)) for name in ("value", "sd", "low", "high"))
    state = STATES.get(row.get("state", ""), "")
    if mean is None:
        waits = state in ("pending", "stale")
        why = {"no_cam": "this method has no CAM", "pending": "no run yet", "stale": "of another configuration"}
        return Cell(state if waits else "–", None, why.get(row.get("state", ""), "no number"), state if waits else "")
    text = number(mean, places) + (f" ± {number(spread, places)}" if spread is not None else "")
    if low is not None and high is not None:
        text += f" [{number(low, places)}, {number(high, places)}]"
    seeds, expected = row.get("seeds", ""), row.get("expected", "")
    remark = f"{seeds} of {expected} seeds so far" if state else f"{seeds} seeds" if seeds not in ("", "1") else ""
    return Cell(text, mean, remark, state)


def single(name: str, row: Row) -> Cell:
    """Set a cell of a table that is shown as it is."""
    text, found, metric = row[name], value(row[name]), row.get("metric", name)
    if name in NAMES or (found is None and text):
        return word(name, text)
    if name in ("p", "p_holm"):
        return Cell(p_value(found), found)
    if name == "low":
        low, high = (number(value(row[bound]), digits_compared(metric), "+") for bound in ("low", "high"))
        return Cell(f"[{low}, {high}]", found)
    if found is not None and text.lstrip("-").isdigit():
        return Cell(text.replace("-", "−"), found)
    return Cell(number(found, digits_compared(metric), "+" if name == "difference" else ""), found)


def word(name: str, text: str) -> Cell:
    """Set a cell that names something."""
    known = {"variant": layout.VARIANTS, "kind": MAPS, "against": layout.VARIANTS, "guidance": layout.VARIANTS}
    if name == "method":
        return Cell(layout.method_name(text), text)
    if name == "metric":
        return Cell(heading(text), text)
    return Cell(known.get(name, {}).get(text, text) or "–", text or None)


def value(text: object) -> float | None:
    """Read a number, or None where there is none."""
    try:
        found = float(str(text))
    except ValueError:
        return None
    return None if math.isnan(found) else found
