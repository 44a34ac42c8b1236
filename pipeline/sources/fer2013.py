"""FER2013: 35,887 grey faces of 48 px from the web, as one CSV file or as pictures in class folders."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.sources import folder
from pipeline.sources._fer2013_csv import find, near, read_image, read_rows
from pipeline.sources._folders import named, subfolders
from pipeline.types import Sample

__all__ = ["EXPECTED", "LAYOUT", "read", "read_image"]

LAYOUT = """\
FER2013; images from the web, for research; nothing to request: it is the data of Kaggle's "Challenges in Representation
Learning: Facial Expression Recognition Challenge", https://www.kaggle.com/datasets/msambare/fer2013 has the folders.
The root, or a folder in it, holds
  fer2013.csv                       emotion,pixels,Usage; also named icml_face_data.csv
or
  train/<class>/<any name>.jpg      angry, disgust, fear, happy, sad, surprise, neutral
  validation/<class>/...            optional: many copies have its pictures in test/
  test/<class>/..."""

_NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
EXPRESSIONS = {label: Expression.parse(name) for label, name in enumerate(_NAMES)}
_COUNTS = {  # labels 0..6
    "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "validation": (467, 56, 496, 895, 653, 415, 607),  # PublicTest
    "test": (491, 55, 528, 879, 594, 416, 626),  # PrivateTest
}
EXPECTED = {
    (split, EXPRESSIONS[label]): count for split, counts in _COUNTS.items() for label, count in enumerate(counts)
}

log = logging.getLogger(__name__)


def read(root: Path) -> Iterator[Sample]:
    """Yield the pictures of either form; PublicTest is the validation split, PrivateTest the test split.

    The id is that of FER+, `fer0000000` and on, for rows of the CSV file, and the path from the dataset's folder for
    files. Raises UserError on another layout and on a wrong label or usage.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist")
    splits = set()
    for sample in _samples(root):
        splits.add(sample.split)
        yield sample
    if "validation" not in splits:
        log.warning("no validation split, as in the common copy whose test split holds both official test sets (7,178)")


def _samples(root: Path) -> Iterator[Sample]:
    table, base = find(root), _class_folders(root)
    if table:
        if base:
            log.warning("%s is read; the pictures in %s are not used", table.name, base)
        yield from csv_samples(root, table)
    elif base:
        for sample in folder.read(base):
            yield replace(sample, path=(base / sample.path).relative_to(root).as_posix())
    else:
        found = named(path.name for path in sorted(root.iterdir())) or "nothing"
        raise UserError(
            f"{root} is not FER2013: neither it nor a folder in it holds fer2013.csv, or train/ and test/ with folders "
            f"such as angry and happy; found: {found}"
        )


def csv_samples(root: Path, table: Path) -> Iterator[Sample]:
    """Yield the rows of the CSV file."""
    name = table.relative_to(root).as_posix()
    for row in read_rows(table):
        yield Sample(f"fer{row.number:07d}", f"{name}#{row.offset}", EXPRESSIONS[row.label], row.split)


def _class_folders(root: Path) -> Path | None:
    """Find the folder that holds train/ and another split."""
    for place in near(root):
        names = {path.name.lower() for path in subfolders(place)}
        if "train" in names and names & {"test", *folder.VALIDATION}:
            return place
    return None
