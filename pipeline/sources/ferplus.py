"""FER+: the pictures of FER2013 with ten annotators' votes each, as Barsoum et al. (2016) published them."""

import csv
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.sources._fer2013_csv import SPLITS, find, near, read_image, read_rows
from pipeline.types import Sample

__all__ = ["EXPECTED", "LAYOUT", "read", "read_image"]

LAYOUT = """\
FER+; new labels of FER2013, nothing to request: fer2013new.csv is in https://github.com/microsoft/FERPlus, the pictures
are those of FER2013. The root, or a folder in it, holds
  fer2013new.csv                          Usage,Image name,neutral,happiness,...: a row of votes per picture
and
  fer2013.csv                             emotion,pixels,Usage, with the rows in the same order
or the folders that FER+'s generate_training_data.py writes
  FER2013Train/fer0000000.png             FER2013Valid/..., FER2013Test/..."""

EXPECTED: Mapping[tuple[str, Expression], int] = {}  # they depend on the rule that makes labels of votes

VOTES = "fer2013new.csv"
SEVEN = tuple(expression.label for expression in Expression)
OTHERS = ("contempt", "unknown", "NF")  # NF: not a face
FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """The votes for a picture; its name is "" where FER+ removed it, its label None where it has none of the seven."""

    name: str
    split: str
    votes: NDArray[np.float64]  # (7,) counts
    label: Expression | None
    reason: str  # why there is no label


def read(root: Path) -> Iterator[Sample]:
    """Yield the pictures whose label is one of the seven expressions, with their votes for these seven.

    The label is the one with most of the ten votes. Pictures that FER+ removed, those with most votes for contempt,
    unknown or no face, and ties for the first place are left out and counted in the log. (FER+'s own code drops single
    votes first and then asks for more than half.) Raises UserError on another layout, and where the votes do not belong
    to the pictures.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist")
    table = next((place / VOTES for place in near(root) if (place / VOTES).is_file()), None)
    if table is None:
        raise UserError(f"{root} is not FER+: there is no {VOTES}; get it from https://github.com/microsoft/FERPlus")
    rows = list(_rows(table))
    paths = _paths(root, rows, table)
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows):
        if row.label is None:
            left_out[row.reason] += 1
        else:
            yield Sample(f"fer{number:07d}", paths[number], row.label, row.split, votes=row.votes)
    if left_out:
        parts = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        log.warning("left out: %d pictures without a label of the seven: %s", left_out.total(), parts)


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        names = [name.strip() for name in next(reader, [])]
        absent = [name for name in ("Usage", "Image name", *SEVEN, *OTHERS) if name not in names]
        if absent:
            raise UserError(f"{path}: the column {absent[0]} is missing; the file of FER+ is needed")
        for values in reader:
            if values:
                yield _row(dict(zip(names, map(str.strip, values), strict=False)), f"{path}, line {reader.line_num}")


def _row(values: Mapping[str, str], where: str) -> Row:
    counts = [values.get(name, "") for name in (*SEVEN, *OTHERS)]
    split = SPLITS.get(values["Usage"].lower())
    if split is None or not all(count.isdecimal() for count in counts):
        raise UserError(f"{where}: expected a usage and ten counts of votes; get the file again")
    votes = dict(zip((*SEVEN, *OTHERS), map(int, counts), strict=True))
    first = [name for name, count in votes.items() if count == max(votes.values())]
    reason = "removed by FER+" if not values["Image name"] else "with a tie" if len(first) > 1 else first[0]
    label = Expression.parse(reason) if reason in SEVEN else None
    return Row(values["Image name"], split, np.array([votes[name] for name in SEVEN], float), label, reason)


def _paths(root: Path, rows: list[Row], table: Path) -> list[str]:
    """Return the path of each row's picture; raise UserError if they are missing or not those of the votes."""
    pixels = find(root)
    if pixels:
        name, pictures = pixels.relative_to(root).as_posix(), list(read_rows(pixels))
        if [picture.split for picture in pictures] != [row.split for row in rows]:
            raise UserError(f"{pixels} and {table} do not list the same pictures in the same order; get both again")
        return [f"{name}#{picture.offset}" for picture in pictures]
    base = next((place for place in near(root) if all((place / name).is_dir() for name in FOLDERS.values())), None)
    if base is None:
        raise UserError(
            f"{root} holds {VOTES}, but not the pictures: neither fer2013.csv nor {', '.join(FOLDERS.values())}; class "
            "folders do not tell which picture a row is of"
        )
    return [(base / FOLDERS[row.split] / row.name).relative_to(root).as_posix() for row in rows]
