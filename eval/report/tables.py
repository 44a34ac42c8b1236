"""The tables of the page, made from the scores as they are now, so that no number is older than its run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from eval.records.runs import Run
from eval.report import cells, embed
from eval.report.cells import Block, Cell, Column, Row, Table, heading
from eval.tables.kinds import KINDS
from eval.tables.notes import notes
from eval.tables.pivot import pivot
from eval.tables.table import with_extras
from pipeline.errors import UserError

MAIN = {"table1": ("table1", "table2"), "table3": ("table3",), "lambda": ("lambda",), "controls": ()}
FURTHER = ("baselines", "faithfulness", "groups", "classification", "time")
OF_METHODS = ("classification", "time")  # these have one row for all lambdas and layer sets of a method
ONE_SETTING = ("table1", "controls")  # kinds of experiments with one lambda and one layer set
TEXTS = dict.fromkeys((*sorted(cells.NAMES), "seed", "layers", "map", "state"), str)
NAMING = ("method", "guidance", "dataset", "protocol", "attribute", "group")


def of_experiment(name: str, kind: str, runs: Sequence[Run]) -> Iterator[Table]:
    """Make the tables of an experiment of a kind (table1, table3, lambda, controls); skip those without numbers.

    Its main tables are shown from the start, with pending cells.
    """
    main = main_tables(kind)
    for table in (*main, *(table for table in FURTHER if table not in OF_METHODS or kind in ONE_SETTING)):
        title = KINDS[table].title
        try:
            frame = pivot(table, with_extras(table, runs), complete=False)
            remarks = notes(table, frame)
        except UserError as error:
            yield Table(f"{name}-{table}", title, [], [f"Cannot be made: {error}"])
            continue
        if table in main or frame["value"].notna().any():
            yield of_frame(_file_name(name, table), title, frame, remarks, opened=table in main)


def main_tables(kind: str) -> tuple[str, ...]:
    """Return the tables that an experiment of a kind is for."""
    return MAIN.get(kind, ("sweep",))


def _file_name(name: str, table: str) -> str:
    """Name a table as the workflow does."""
    if table == "table2":
        return "table2" if name == "table1" else f"{name}-attention"
    return name if table in ("table1", "table3", "lambda", "sweep") else f"{name}-{table}"


def of_authors(folder: Path) -> Iterator[Table]:
    """Read the tables of the authors' checkpoints, if the workflow made them."""
    for path in sorted(folder.glob("*.csv")):
        if path.stem in KINDS:
            title = f"The authors' checkpoints: {KINDS[path.stem].title}"
            yield of_frame(f"published-{path.stem}", title, read_csv(path), [], opened=True)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table of `eval.tables` or `eval.compare`; names and seeds stay text."""
    frame = pd.read_csv(path, dtype=TEXTS, keep_default_na=False, na_values=[""])
    return frame.fillna(dict.fromkeys(TEXTS, ""))


def of_frame(name: str, title: str, frame: pd.DataFrame, remarks: Sequence[str], *, opened: bool) -> Table:
    """Arrange a table of `eval.tables.pivot` in blocks with our numbers, the paper's and the differences."""
    counts = {word: int((frame["state"] == state).sum()) for state, word in cells.STATES.items()}
    marked = {word: count for word, count in counts.items() if count}
    blocks = list(_blocks(frame.to_dict("records"))) if len(frame) else []
    return Table(name, title, blocks, list(remarks), embed.csv(frame.to_csv(index=False)), marked, opened)


def _blocks(rows: Sequence[Row]) -> Iterator[Block]:
    """Make a block per section of the table's kind: a row per variant, its metrics side by side."""
    present = dict.fromkeys(_column(row) for row in rows)
    kinds = [kind for kind in KINDS.values() if set(present) <= set(kind.columns)]
    sections = min(kinds, key=lambda kind: len(kind.columns)).sections if kinds else {"": tuple(present)}
    for title, columns in sections.items():
        own = [row for row in rows if _column(row) in columns]
        if any(not pd.isna(row["value"]) or row["state"] in ("pending", "stale") for row in own):
            yield _block(title, own, [column for column in columns if column in present])


def _block(title: str, rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> Block:
    naming = [name for name in NAMING if name in rows[0]]
    names, same = without_constant(rows, naming)
    papers = {_column(row) for row in rows if not pd.isna(row["paper"])} & set(columns)
    heads = [Column(heading(name), numeric=False) for name in names]
    for column in columns:
        labels = ("ours", "paper", "difference") if column in papers else ("ours",) if papers else ("",)
        heads += [Column(label or heading(column[1]), heading(column[1]) if label else "") for label in labels]
    merged: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
    for row in rows:
        key = row["variant"], *(cells.text_of(row[name]) for name in naming)
        merged.setdefault(key, {})[_column(row)] = row
    body = []
    for position, metrics in enumerate(merged.values()):
        line = [_name(name, next(iter(metrics.values())), position) for name in names]
        for column in columns:
            line += cells.beside(metrics.get(column, {}), paper=column in papers)
        body.append(line)
    return Block(title, heads, body, same)


def _column(row: Row) -> tuple[str, str]:
    return row["kind"], row["metric"]


def _name(name: str, row: Row, position: int) -> Cell:
    """Name a row; settings of the AU term are sorted by lambda and layers, the order of the table."""
    if name != "guidance":
        return cells.named(name, row[name])
    plain = row["variant"] == "plain"
    return Cell(cells.named("variant", "plain").text if plain else row[name] or row["variant"], position)


def without_constant(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[str], str]:
    """Drop naming columns in which all rows are equal; return the other columns and what the dropped ones say."""
    texts = {name: {cells.text_of(row[name]) for row in rows} for name in names}
    droppable = cells.NAMES - {"method", "guidance", "metric"}
    constant = [name for name in names if name in droppable and len(texts[name]) == 1 < len(rows)]
    shared = [f"{heading(name)}: {cells.named(name, *texts[name]).text}" for name in constant if texts[name] != {""}]
    return [name for name in names if name not in constant], "; ".join(shared)
