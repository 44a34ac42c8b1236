"""FER2013's one file, a row per picture: labels and places of the rows in one pass, single pictures by their place."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.sources._folders import subfolders

FILES = ("fer2013.csv", "icml_face_data.csv")  # the same content; the second one has spaces in its header
COLUMNS = ("emotion", "pixels", "usage")
SPLITS = {"training": "train", "publictest": "validation", "privatetest": "test"}
SIDE = 48
PLACE = re.compile(r"(?P<file>.+\.csv)#(?P<offset>\d+)")  # the path of a picture: a file and the first byte of its row


class Row(NamedTuple):
    """A picture: its number among the rows, the first byte of its row, its label 0..6, its split and its line."""

    number: int
    offset: int
    label: int
    split: str
    where: str


def find(root: Path) -> Path | None:
    """Return the file if it lies in the root, or in a folder at most two levels below."""
    return next((folder / name for folder in near(root) for name in FILES if (folder / name).is_file()), None)


def near(root: Path) -> Iterator[Path]:
    """Yield the root, then the folders in it, then those in these."""
    first = subfolders(root)
    yield from (root, *first, *(inner for outer in first for inner in subfolders(outer)))


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of the file; without a header, the columns are emotion, pixels, Usage.

    Raises UserError on a row that is not complete, a label outside 0..6 and an unknown usage. Pixels are not looked at.
    """
    columns: tuple[str, ...] = COLUMNS
    offset = number = 0
    with path.open("rb") as file:
        for line, data in enumerate(file, start=1):
            where, fields = f"{path}, line {line}", _fields(data)
            if line == 1 and COLUMNS[0] in (names := tuple(field.lower() for field in fields)):
                absent = [name for name in COLUMNS if name not in names]
                if absent:
                    raise UserError(f"{where}: the column {absent[0]} is missing; the file with {COLUMNS} is needed")
                columns = names
            elif fields != [""]:
                yield _row(number, offset, dict(zip(columns, fields, strict=False)), where)
                number += 1
            offset += len(data)


def read_image(root: Path, path: str) -> NDArray[np.uint8] | None:
    """Return the picture of a row as RGB (48, 48, 3); None if the path is not that of a row.

    Raises `pipeline.storage.images.Unreadable` if the row does not hold 48 x 48 numbers 0..255.
    """
    from pipeline.storage.images import Unreadable  # noqa: PLC0415  (its packages are slow to import)

    place = PLACE.fullmatch(path)
    if not place:
        return None
    try:
        with (root / place["file"]).open("rb") as file:
            file.seek(int(place["offset"]))
            words = max(_fields(file.readline()), key=len).split()
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    try:
        pixels = np.array([int(word) for word in words])
    except ValueError:
        raise Unreadable("damaged row: pixels that are no numbers") from None
    if len(pixels) != SIDE * SIDE or pixels.min() < 0 or pixels.max() > 255:
        raise Unreadable(f"damaged row: {len(pixels)} pixels, expected {SIDE} x {SIDE} from 0 to 255")
    return np.repeat(pixels.astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)


def _row(number: int, offset: int, values: dict[str, str], where: str) -> Row:
    absent = [name for name in COLUMNS if not values.get(name)]
    if absent:
        raise UserError(f"{where}: there is no {absent[0]}; the file is incomplete, get it again")
    label, usage = values["emotion"], values["usage"]
    if not label.isdecimal() or int(label) > 6:
        raise UserError(f"{where}: expected an emotion 0..6, found {label[:20]!r}")
    if usage.lower() not in SPLITS:
        raise UserError(f"{where}: expected the usage Training, PublicTest or PrivateTest, found {usage[:20]!r}")
    return Row(number, offset, int(label), SPLITS[usage.lower()], where)


def _fields(line: bytes) -> list[str]:
    return [field.strip(' "\r\n') for field in line.decode("utf-8-sig", "replace").split(",")]
