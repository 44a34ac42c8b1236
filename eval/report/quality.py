"""The faces behind the numbers: what became of every image, and whether the dataset is the official one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from au_guidance.expressions import Expression
from eval.report.cells import Block, Cell, Column, Row, columns, heading, number, number_of, of_texts
from pipeline import plugins
from pipeline.errors import UserError
from pipeline.index import compare_counts, describe_differences
from pipeline.status import describe_gap
from pipeline.types import DOUBTFUL_STEPS

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
    """A dataset: the statuses of its images, failures by class, its official counts, a verdict, remarks."""

    dataset: str
    source: str
    statuses: Block | None
    failures: list[Failure]
    official: Block | None
    verdict: str
    remarks: list[str] = field(default_factory=list)


def of_datasets(datasets: Mapping[str, Any], results: Path) -> list[Quality]:
    """Read `status.csv` and `faces.csv` of every dataset; a dataset without the first is not prepared yet."""
    return [_quality(name, dataset.get("source", ""), results / "data" / name) for name, dataset in datasets.items()]


def _quality(name: str, source: str, folder: Path) -> Quality:
    path = folder / "status.csv"
    if not path.is_file():
        return Quality(name, source, None, [], None, "Not prepared yet.")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    official, verdict = _official(rows, source)
    failures = _failures(rows)
    warning = describe_gap({failure.label: 100 - failure.percent for failure in failures})
    remarks = [*([_sentence(warning)] if warning else []), *_doubtful(folder / "faces.csv")]
    return Quality(name, source, _statuses(rows), failures, official, verdict, remarks)


def _doubtful(path: Path) -> list[str]:
    """Say how many test faces the detector hardly saw or did not see; nothing before they are listed."""
    if not path.is_file():
        return []
    faces = pd.read_csv(path, dtype=str, keep_default_na=False)
    test = faces[faces["split"] == "test"]
    doubtful, whole = int(test["step"].isin(DOUBTFUL_STEPS).sum()), int((test["status"] == "whole_image").sum())
    return [
        f"Of {len(test)} test images, {doubtful} have a face that the detector found only at a lowered threshold or "
        f"FaceMesh alone saw (steps {', '.join(DOUBTFUL_STEPS)}), and {whole} are used as a whole, because no face was "
        "found or none was searched."
    ]


def _sentence(warning: str) -> str:
    text = warning.removeprefix("warning: ")
    return f"{text[0].upper()}{text[1:]}."


def _statuses(rows: Sequence[Row]) -> Block:
    names = list(rows[0]) if rows else []
    heads = [Column(heading(name), numeric=name not in ("split", "expression")) for name in names]
    return Block("Statuses", heads, [[Cell(text, _key(text)) for text in row.values()] for row in rows])


def _key(text: str) -> float | str | None:
    return value if (value := number_of(text)) is not None else text or None


def _failures(rows: Sequence[Row]) -> list[Failure]:
    """Merge the splits: failed images / images of each class."""
    failed: dict[str, list[float]] = {}
    for row in rows:
        percent, images = number_of(row["percent"]), number_of(row["images"]) or 0
        if ALL in (row["split"], row["expression"]) or percent is None:
            continue
        counts = failed.setdefault(row["expression"], [0.0, 0.0])
        counts[0] += images
        counts[1] += images * (100 - percent) / 100
    return [Failure(label, int(n), 100 * lost / n) for label, (n, lost) in failed.items() if n]


def _official(rows: Sequence[Row], source: str) -> tuple[Block | None, str]:
    try:
        expected = plugins.load("pipeline.sources", source).EXPECTED
    except UserError:
        return None, f"The source {source} is not known."
    counted = {
        (row["split"], Expression.parse(row["expression"])): int(row["images"])
        for row in rows
        if ALL not in (row["split"], row["expression"]) and row["expression"].upper() in Expression.__members__
    }
    pairs = [pair for pair in compare_counts(counted, expected) if pair.expected is not None]
    if not pairs:
        return None, "There is no official release of this dataset to compare with."
    body = []
    for pair in pairs:
        more = pair.found - (pair.expected or 0)
        numbers = [Cell(str(pair.found), pair.found), Cell(str(pair.expected), pair.expected)]
        change = Cell(f"{more:+d}".replace("-", "−") if more else "0", more)
        body.append([*of_texts(pair.split, pair.expression.label), *numbers, change])
    warning = describe_differences(pairs)
    verdict = (warning or "All counts are those of the official release.").removeprefix("warning: ")
    heads = columns(("split", "expression"), ("found", "official", "difference"))
    return Block("Images, beside the official release", heads, body), f"{verdict[0].upper()}{verdict[1:]}"
