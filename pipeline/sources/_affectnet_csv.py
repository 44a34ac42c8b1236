"""AffectNet, manually annotated release: whole pictures, with face box and 68 points in two CSV files."""

import codecs
import csv
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.sources._affectnet_labels import EXPRESSIONS, expression_id, report_left_out
from pipeline.sources._folders import named
from pipeline.types import Sample

LISTS = {"train": "training.csv", "test": "validation.csv"}
LIST_FOLDERS = ("", "Manually_Annotated_file_lists", "Manually_Annotated")
IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated", "")
COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height",
    "facial_landmarks", "expression", "valence", "arousal",
)  # fmt: skip
BOX = COLUMNS[1:5]
UNKNOWN = ("", "NULL", "null")

Row = dict[str, str]
Floats = NDArray[np.float64]
log = logging.getLogger(__name__)


def find(root: Path) -> Mapping[str, Path] | None:
    """Return the CSV of each split, or None if there are none; raise UserError if one is missing."""
    for folder in LIST_FOLDERS:
        lists = {split: root / folder / name for split, name in LISTS.items()}
        present = [path for path in lists.values() if path.is_file()]
        if len(present) == 1:
            raise UserError(f"{present[0]} has no {' or '.join(LISTS.values())} beside it; both lists are needed")
        if present:
            return lists
    return None


def read(root: Path, lists: Mapping[str, Path]) -> Iterator[Sample]:
    """Yield the pictures of both lists in their order, with box and 68 points where these are known.

    A box without width or height counts as unknown.
    """
    left_out: Counter[int] = Counter()
    missing: list[str] = []
    unknown: Counter[str] = Counter()
    _names.cache_clear()
    images = _image_folder(root, lists["train"])
    for split, path in lists.items():
        for where, row in _rows(path):
            label = expression_id(row["expression"], where)
            file = row["subDirectory_filePath"]
            if label not in EXPRESSIONS:
                left_out[label] += 1
            elif not _exists(images, file):
                missing.append(file)
            else:
                sample = _sample(root, images, split, row, where)
                unknown.update(what for what in ("box", "landmarks") if getattr(sample, what) is None)
                yield sample
    if missing:
        raise UserError(f"{images}: {len(missing)} of the listed images are missing: {named(missing)}")
    for what, count in unknown.items():
        log.warning("%d images without %s, kept without", count, what)
    report_left_out(left_out)


def _sample(root: Path, images: Path, split: str, row: Row, where: str) -> Sample:
    box = _numbers([row[name] for name in BOX], 4, f"{where}: the face box")
    points = _numbers(row["facial_landmarks"].strip(" ;").split(";"), 136, f"{where}: facial_landmarks")
    file = row["subDirectory_filePath"]
    return Sample(
        id=file,
        path=(images / file).relative_to(root).as_posix(),
        expression=EXPRESSIONS[expression_id(row["expression"], where)],
        split=split,
        box=None if box is None or (box[2:] <= 0).any() else np.concatenate([box[:2], box[:2] + box[2:]]),
        landmarks=None if points is None else points.reshape(68, 2),
    )


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (where, row) of a list; without a header (some validation.csv) the columns are the official ones.

    The separator may be a comma, a semicolon or a tab, the encoding UTF-8 or UTF-16: spreadsheets save them all.
    """
    encoding, separator = _format(path)
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        columns: list[str] = list(COLUMNS)
        for values in _values(reader, path):
            where = f"{path}, line {reader.line_num}"
            if values and values[0].strip() == COLUMNS[0]:
                columns = [value.strip() for value in values]
                absent = [name for name in COLUMNS[:7] if name not in columns]
                if absent:
                    raise UserError(f"{where}: the column {absent[0]} is missing; use the list of the release")
            elif values:
                if len(values) != len(columns):
                    between = "" if separator == "," else f" between {separator!r}; save the list with commas"
                    raise UserError(f"{where}: expected {len(columns)} columns, found {len(values)}{between}")
                row = dict(zip(columns, values, strict=True))
                yield where, row | {COLUMNS[0]: _inside(row[COLUMNS[0]].strip().replace("\\", "/"), where)}


def _format(path: Path) -> tuple[str, str]:
    """Return the encoding of a list, which its first bytes tell, and the separator after its first value, a path."""
    with path.open("rb") as file:
        line = file.readline()
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in line:
        raise UserError(f"{path} is no text in UTF-8 (UTF-16 or 32 without a mark at its start?); save it as UTF-8")
    else:
        encoding = "utf-8-sig"
    separators = [character for character in line.decode(encoding, "ignore") if character in ",;\t"]
    return encoding, next(iter(separators), ",")


def _values(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; use the list of the release") from None


def _inside(file: str, where: str) -> str:
    """Return the path of an image below the images' folder; raise UserError if it leads out of there."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\0" in file:
        raise UserError(f"{where}: the path {file!r} leads out of the dataset; use the list of the release")
    return file


def _image_folder(root: Path, path: Path) -> Path:
    """Return the folder that the paths of a list start from, judged by its first entries."""
    candidates = [root / folder for folder in IMAGE_FOLDERS]
    for number, (_, row) in enumerate(_rows(path)):
        for folder in candidates:
            if _exists(folder, row["subDirectory_filePath"]):
                return folder
        if number == 100:
            break
    raise UserError(f"the images that {path} lists are in none of {named(map(str, candidates))}; unpack them there")


def _exists(folder: Path, file: str) -> bool:
    name = (folder / file).name
    return name in _names((folder / file).parent)


@cache
def _names(folder: Path) -> frozenset[str]:
    """List a folder once: a lookup per picture is slow on a network drive."""
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _numbers(words: list[str], count: int, where: str) -> Floats | None:
    """Read numbers; None if they are marked as unknown."""
    if all(word.strip() in UNKNOWN for word in words):
        return None
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise UserError(f"{where}: expected {count} numbers, found {';'.join(words)[:60]!r}")
    return numbers
