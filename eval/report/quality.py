"""The faces behind the numbers: what became of every image, and whether the dataset is the official one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from au_guidance.expressions import Expression
from eval.report.cells import Block, Cell, Column, Row, value
from eval.report.tables import read as read_rows
from eval.report.words import heading, number
from pipeline import plugins
from pipeline.errors import UserError
from pipeline.index import counts, differences

ALL = "all"


@dataclass(frozen=True)
class Failure:
    """How many images of a class have no landmarks, and so no AU map; in percent."""

    label: str
    images: int
    percent: float

    @property
    def text(self) -> str:
        """The share for readers."""
        return f"{number(self.percent, 1)} %"


@dataclass(frozen=True)
class Quality:
    """A dataset: the statuses of its images, failures by class, its counts beside the official ones, a verdict."""

    dataset: str
    source: str
    statuses: Block | None
    failures: list[Failure]
    official: Block | None
    verdict: str


def read(datasets: Mapping[str, Any], results: Path) -> list[Quality]:
    """Read `status.csv` of every dataset; one without it is not prepared yet."""
    return [_quality(name, dataset.get("source", ""), results / "data" / name) for name, dataset in datasets.items()]


def _quality(name: str, source: str, folder: Path) -> Quality:
    path = folder / "status.csv"
    if not path.is_file():
        return Quality(name, source, None, [], None, "Not prepared yet.")
    rows = read_rows(path.read_text(encoding="utf-8"))
    official, verdict = _official(rows, source)
    return Quality(name, source, _statuses(rows), _failures(rows), official, verdict)


def _statuses(rows: Sequence[Row]) -> Block:
    names = list(rows[0]) if rows else []
    columns = [Column(heading(name), numeric=name not in ("split", "expression")) for name in names]
    return Block("Statuses", columns, [[Cell(row[name], _sorted(row[name])) for name in names] for row in rows])


def _sorted(text: str) -> float | str | None:
    found = value(text)
    return text or None if found is None else found


def _failures(rows: Sequence[Row]) -> list[Failure]:
    """Put the splits together: failed images / images of each class."""
    failed: dict[str, list[float]] = {}
    for row in rows:
        percent, images = value(row["percent"]), value(row["images"]) or 0
        if ALL in (row["split"], row["expression"]) or percent is None:
            continue
        both = failed.setdefault(row["expression"], [0.0, 0.0])
        both[0] += images
        both[1] += images * (100 - percent) / 100
    return [Failure(label, int(n), 100 * lost / n) for label, (n, lost) in failed.items() if n]


def _official(rows: Sequence[Row], source: str) -> tuple[Block | None, str]:
    try:
        expected = plugins.load("pipeline.sources", source).EXPECTED
    except UserError:
        return None, f"The source {source} is not known."
    found = {
        (row["split"], Expression.parse(row["expression"])): int(row["images"])
        for row in rows
        if ALL not in (row["split"], row["expression"]) and _known(row["expression"])
    }
    pairs = [one for one in counts(found, expected) if one.expected is not None]
    if not pairs:
        return None, "There is no official release of this dataset to compare with."
    columns = [Column("split", numeric=False), Column("expression", numeric=False)]
    columns += [Column("found"), Column("official"), Column("difference")]
    body = []
    for one in pairs:
        more = one.found - (one.expected or 0)
        numbers = [Cell(str(one.found), one.found), Cell(str(one.expected), one.expected)]
        change = Cell(f"{more:+d}".replace("-", "−") if more else "0", more)
        label = one.expression.label
        body.append([Cell(one.split, one.split), Cell(label, label), *numbers, change])
    warning = differences(pairs)
    said = (warning or "All counts are those of the official release.").removeprefix("warning: ")
    return Block("Images, beside the official release", columns, body), f"{said[0].upper()}{said[1:]}"


def _known(label: str) -> bool:
    return label.upper() in Expression.__members__
