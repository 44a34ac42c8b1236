"""The paired comparisons of a page: with AU against without, and against controls."""

from collections.abc import Iterable, Mapping, Sequence

from eval.compare.compare import MEAN, NOTES, compare
from eval.compare.pairs import judge
from eval.records.runs import Place, Run, Setting, done
from eval.report import tables
from eval.report.cells import Row, Table
from eval.report.runs import guidance
from pipeline.errors import UserError

TITLE = "With AU guidance against without, and against controls, on the same test faces"
ORDER = (
    "method", "dataset", "protocol", "guidance", "against", "metric", "plain", "guided", "difference", "low", "p_holm",
    "p", "seed_sd", "seeds", "images",
)  # fmt: skip
PAIR = ("dataset", "protocol", "method", "guidance", "against", "metric")


def of_experiment(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """Compare the runs of an experiment that are done; return CSV text, empty where there is no pair, and its notes."""
    try:
        table = compare([judge(run) for run in done(runs)])
    except UserError as error:
        return "", [f"Cannot be made: {error}"]
    return ("", []) if table.empty else (table.to_csv(index=False), list(NOTES))


def table(name: str, text: str, said: Sequence[str]) -> Table:
    """Set comparisons as a table: means over seeds first, single seeds below."""
    rows = tables.read(text)
    first = means(rows)
    single = [row for row in rows if row not in first]
    blocks = [tables.wide("", [{**row, "seed": ""} for row in first], ORDER)] if first else []
    blocks += [tables.wide("Single seeds", single, ("seed", *ORDER), opened=False)] if single else []
    return Table(f"{name}-guidance", TITLE, blocks, list(said), tables.link(text) if text else "", opened=True)


def means(rows: Sequence[Row]) -> list[Row]:
    """Keep the mean over seeds of each comparison, or its only seed."""
    averaged = {_pair(row) for row in rows if row["seed"] == MEAN}
    return [row for row in rows if row["seed"] == MEAN or _pair(row) not in averaged]


def chosen(rows: Sequence[Row], base: Mapping[Place, Setting]) -> list[Row]:
    """Keep the means of the settings that stand for their places; what two experiments share counts once."""
    found: dict[tuple[str, ...], Row] = {}
    for row in _of_base(means(rows), base):
        found.setdefault(_pair(row), row)
    return list(found.values())


def _of_base(rows: Iterable[Row], base: Mapping[Place, Setting]) -> Iterable[Row]:
    names = {place: guidance(setting) for place, setting in base.items()}
    return (row for row in rows if names.get((row["dataset"], row["protocol"], row["method"])) == row["guidance"])


def _pair(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in PAIR)
