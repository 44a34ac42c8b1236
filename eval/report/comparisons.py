"""The paired comparisons of the page: with AU against without, and against controls."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eval.compare.compare import MEAN, NOTES, TITLE, compare, digits
from eval.compare.pairs import load_per_face
from eval.records.runs import OWN, Place, Run, Setting, done
from eval.report import embed, tables
from eval.report.cells import (
    NAMES,
    Block,
    Cell,
    Column,
    Row,
    Table,
    heading,
    named,
    number,
    number_of,
    of_number,
    p_value,
    text_of,
)  # fmt: skip
from eval.tables import layout
from pipeline.errors import UserError

COLUMNS = (
    "method", "dataset", "protocol", "guidance", "against", "metric", "plain", "guided", "difference", "low", "p_holm",
    "p", "seed_sd", "seeds", "images",
)  # fmt: skip
INTERVAL = ("low", "high")
PAIR = ["dataset", "protocol", "method", "guidance", "against"]


def of_experiment(name: str, runs: Sequence[Run], folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Compare the finished runs of an experiment; return the comparisons, empty if there is no pair, and notes.

    The table that the workflow wrote to `folder` is used if it is of these runs; otherwise they are compared here.
    """
    frame = _stored(folder / f"{name}-guidance.csv", runs)
    if frame is None:
        try:
            frame = compare([load_per_face(run) for run in done(runs)])
        except UserError as error:
            return pd.DataFrame(), [f"Cannot be made: {error}"]
    return frame, [] if frame.empty else list(NOTES)


def _stored(path: Path, runs: Sequence[Run]) -> pd.DataFrame | None:
    """Read a comparison of `eval.compare`; None unless it is of all these runs, in their configuration, as scored last.

    A run whose card has changed is stale until it is scored anew, and its scores are newer than the table then.
    """
    if not path.is_file() or any(run.state != "done" for run in runs):
        return None
    inputs = [file for run in runs for file in (run.path, run.path.with_name("images.csv")) if file.is_file()]
    if any(file.stat().st_mtime > path.stat().st_mtime for file in inputs):
        return None
    try:
        frame = tables.read_csv(path)
    except (OSError, ValueError):
        return None
    if not {*COLUMNS, *INTERVAL, *PAIR, "seed"} <= set(frame.columns):
        return None
    single = frame.loc[frame["seed"] != MEAN, [*PAIR, "seed"]]
    return frame if set(single.itertuples(index=False, name=None)) == _pairs(runs) else None


def _pairs(runs: Sequence[Run]) -> set[tuple[str, ...]]:
    """Return the values of PAIR and the seed of every pair that `eval.compare` makes of some runs."""
    pairs: set[tuple[str, ...]] = set()
    for run in runs:
        others = [other for other in runs if (other.place, other.seed) == (run.place, run.seed)]
        for other in others if run.variant == "au" else ():
            if other.variant == "plain" or (other.map != OWN and other.setting[:2] == run.setting[:2]):
                pairs.add((*run.place, layout.guidance_name(*run.setting), other.variant, str(run.seed)))
    return pairs


def table(name: str, frame: pd.DataFrame, remarks: Sequence[str]) -> Table:
    """Arrange comparisons as a table: means over seeds first, single seeds below."""
    blocks, download = [], ""
    if not frame.empty:
        download = embed.csv(frame.to_csv(index=False))
        first = means(frame)
        blocks.append(_block("", first, COLUMNS))
        if len(single := frame.drop(first.index)):
            blocks.append(_block("Single seeds", single, ("seed", *COLUMNS), opened=False))
    return Table(f"{name}-guidance", TITLE, blocks, list(remarks), download, opened=True)


def _block(title: str, frame: pd.DataFrame, columns: Sequence[str], *, opened: bool = True) -> Block:
    rows = frame.to_dict("records")
    names, same = tables.without_constant(rows, [name for name in columns if frame[name].notna().any()])
    heads = [Column(heading(name), numeric=name not in NAMES) for name in names]
    return Block(title, heads, [[_cell(name, row) for name in names] for row in rows], same, opened)


def _cell(name: str, row: Row) -> Cell:
    if name in NAMES:
        return named(name, row[name])
    value, places = number_of(row[name]), digits(row["metric"])
    if name in ("p", "p_holm"):
        return Cell(p_value(value), value)
    if name == "low":
        low, high = (number(number_of(row[bound]), places, "+") for bound in INTERVAL)
        return Cell(f"[{low}, {high}]", value)
    if name in ("seed", "seeds", "images"):
        return Cell(text_of(row[name]), value)
    return of_number(value, places, "+" if name == "difference" else "")


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the mean over seeds of each comparison, or its only seed."""
    comparisons, mean = pd.MultiIndex.from_frame(frame[[*PAIR, "metric"]]), frame["seed"] == MEAN
    return frame[mean | ~comparisons.isin(comparisons[mean])]


def chosen(frame: pd.DataFrame, base: Mapping[Place, Setting]) -> Sequence[Row]:
    """Keep the means of the settings that stand for their places; what two experiments share counts once."""
    if frame.empty:
        return []
    names = {place: layout.guidance_name(*setting) for place, setting in base.items()}
    settings = zip(frame["dataset"], frame["protocol"], frame["method"], frame["guidance"], strict=True)
    own = frame[[names.get((dataset, protocol, method)) == name for dataset, protocol, method, name in settings]]
    return means(own).drop_duplicates([*PAIR, "metric"]).to_dict("records")
