"""The synthetic faces that `python -m pipeline.synthetic` wrote to disk, read like any dataset."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.types import ACTIVE_AUS, Sample

TRUTH = "truth.csv"
LAYOUT = (
    f"{TRUTH} and images/*.jpg, as written by: python -m pipeline.synthetic"
    " --out FOLDER --identities-train 80 --identities-test 34 --size 224 --seed 0"
)
EXPECTED: Mapping[tuple[str, Expression], int] = {}  # any number can be drawn
DOMAIN = "drawings"

_COLUMNS = ("id", "path", "expression", "split", "identity", "skin_tone", "active_aus", "landmarks")


def read(root: Path) -> Iterator[Sample]:
    """Yield the images in the order of truth.csv, with true landmarks and AUs; UserError if anything is missing."""
    truth = root / TRUTH
    if not truth.is_file():
        raise UserError(f"{truth} is missing; expected {LAYOUT}")
    with truth.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise UserError(f"{truth} has no column {', '.join(missing)}; expected {LAYOUT}")
        for row in rows:
            try:
                yield _sample(root, row)
            except (ValueError, AttributeError) as error:
                raise UserError(f"{truth}, line {rows.line_num}: {error}; expected {LAYOUT}") from None


def _sample(root: Path, row: dict[str, str]) -> Sample:
    landmarks = np.array(row["landmarks"].split(";"), float)
    if landmarks.size != 136:
        raise ValueError(f"landmarks holds {landmarks.size} numbers, not 136")
    if row["split"] not in ("train", "test"):
        raise ValueError(f"split {row['split']!r} is neither train nor test")
    if not (root / row["path"]).is_file():
        raise ValueError(f"{row['path']} is missing")
    return Sample(
        id=row["id"],
        path=row["path"],
        expression=Expression.parse(row["expression"]),
        split=row["split"],
        landmarks=landmarks.reshape(68, 2),
        identity=row["identity"],
        attributes={"skin_tone": row["skin_tone"], ACTIVE_AUS: row["active_aus"]},
    )
