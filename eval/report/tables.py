"""The tables of a page, made from the scores that are there, so that no number is older than its run."""

import base64
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.records.runs import Run
from eval.report import cells
from eval.report.cells import Block, Cell, Column, Row, Table
from eval.report.words import heading
from eval.tables.kinds import KINDS
from eval.tables.notes import notes
from eval.tables.pivot import pivot
from eval.tables.table import with_extras
from pipeline.errors import UserError

OWN = {"table1": ("table1", "table2"), "table3": ("table3",), "lambda": ("lambda",), "controls": ()}
FURTHER = ("baselines", "faithfulness", "groups", "classification", "time")
OF_METHODS = ("classification", "time")  # these have one row for all lambdas and layer sets of a method
ONE_SETTING = ("table1", "controls")  # kinds of experiments with one lambda and one layer set
LONG = {"kind", "metric", "value", "state"}
PROVENANCE = {"checkpoint", "checkpoints", "commit", "commits", "settings", "card", "cards"}  # only in the download


def of_experiment(name: str, kind: str, runs: Sequence[Run]) -> Iterator[Table]:
    """Make the tables of an experiment of a kind (table1, table3, lambda, controls); leave out those without numbers.

    Its own tables are there from the start, with pending cells.
    """
    own = OWN.get(kind, ("sweep",))
    for shown in (*own, *(one for one in FURTHER if one not in OF_METHODS or kind in ONE_SETTING)):
        try:
            frame = pivot(shown, with_extras(shown, runs), complete=False)
            said = notes(shown, frame)
        except UserError as error:
            yield Table(f"{name}-{shown}", KINDS[shown].title, [], [f"Cannot be made: {error}"])
            continue
        if shown in own or frame["value"].notna().any():
            yield from_csv(_file(name, shown), KINDS[shown].title, frame.to_csv(index=False), said, opened=shown in own)


def _file(name: str, shown: str) -> str:
    """Name a table as the workflow does."""
    if shown == "table2":
        return "table2" if name == "table1" else f"{name}-attention"
    return name if shown in ("table1", "table3", "lambda", "sweep") else f"{name}-{shown}"


def published(folder: Path) -> Iterator[Table]:
    """Read the tables of the authors' checkpoints, if the workflow made them."""
    for path in sorted(folder.glob("*.csv")):
        title = f"The authors' checkpoints: {KINDS[path.stem].title if path.stem in KINDS else path.stem}"
        yield from_csv(f"published-{path.stem}", title, path.read_text(encoding="utf-8"), [], opened=True)


def read(text: str) -> list[Row]:
    """Read the rows of a CSV as text."""
    return list(csv.DictReader(io.StringIO(text)))


def from_csv(name: str, title: str, text: str, said: Sequence[str], *, opened: bool = False) -> Table:
    """Set a CSV of `eval.tables.pivot` as blocks with ours, the paper's and the difference; another one as it is."""
    rows = read(text)
    blocks = [] if not rows else list(_long(rows)) if rows[0].keys() >= LONG else [wide("", rows)]
    counts = {word: sum(row.get("state") == state for row in rows) for state, word in cells.STATES.items()}
    marked = {word: count for word, count in counts.items() if count}
    return Table(name, title, blocks, list(said), link(text), marked, opened)


def link(text: str) -> str:
    """Make the data URI of a CSV."""
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"


def _long(rows: Sequence[Row]) -> Iterator[Block]:
    """Set a block per section of the table's kind: a row per variant, its metrics side by side."""
    there = dict.fromkeys(_of(row) for row in rows)
    fitting = [kind for kind in KINDS.values() if set(there) <= set(kind.columns)]
    sections = min(fitting, key=lambda kind: len(kind.columns)).sections if fitting else {"": tuple(there)}
    for title, columns in sections.items():
        own = [row for row in rows if _of(row) in columns]
        if any(row["value"] or row["state"] in ("pending", "stale") for row in own):
            yield _section(title, own, [column for column in columns if column in there])


def _section(title: str, rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> Block:
    asked = [name for name in ("method", "guidance", "dataset", "protocol", "attribute", "group") if name in rows[0]]
    names, same = _split(rows, asked)
    papers = {column for column in columns if any(_of(row) == column and row.get("paper") for row in rows)}
    heads = [Column(heading(name), numeric=False) for name in names]
    for column in columns:
        labels = ("ours", "paper", "difference") if column in papers else ("ours",) if papers else ("",)
        heads += [Column(label or heading(column[1]), heading(column[1]) if label else "") for label in labels]
    merged: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
    for row in rows:
        merged.setdefault((row["variant"], *(row[name] for name in asked)), {})[_of(row)] = row
    body = []
    for position, found in enumerate(merged.values()):
        line = [_name(name, next(iter(found.values())), position) for name in names]
        for column in columns:
            line += cells.beside(found.get(column, {}), paper=column in papers)
        body.append(line)
    return Block(title, heads, body, same)


def _of(row: Row) -> tuple[str, str]:
    return row["kind"], row["metric"]


def _name(name: str, row: Row, position: int) -> Cell:
    """Name a row; settings of the AU term are sorted as the table has them, by lambda and layers."""
    if name != "guidance":
        return cells.word(name, row[name])
    plain = row["variant"] == "plain"
    return Cell(cells.word("variant", "plain").text if plain else row[name] or row["variant"], position)


def wide(title: str, rows: Sequence[Row], order: Sequence[str] = (), *, opened: bool = True) -> Block:
    """Set a table as it is, columns named in `order` first, the two bounds of an interval in one cell."""
    there = sorted(rows[0], key=lambda name: [*order, name].index(name))
    filled = [name for name in there if name not in PROVENANCE and any(row[name] for row in rows)]
    names, same = _split(rows, [name for name in filled if name != "high" or "low" not in filled])
    heads = [
        Column(heading(name), numeric=all(not row[name] or cells.value(row[name]) is not None for row in rows))
        for name in names
    ]
    return Block(title, heads, [[cells.single(name, row) for name in names] for row in rows], same, opened)


def _split(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[str], str]:
    """Take out naming columns in which all rows say the same; return the others and what those say."""
    kept = cells.NAMES - {"method", "guidance", "metric"}
    same = [name for name in names if name in kept and len({row[name] for row in rows}) == 1 < len(rows)]
    said = "; ".join(f"{heading(name)}: {cells.word(name, rows[0][name]).text}" for name in same if rows[0][name])
    return [name for name in names if name not in same], said
