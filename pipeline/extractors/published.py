"""The landmarks that the authors published: `landmarks.txt` of their fold files, found by SynergyNet in 224-px crops.

They fit crops made in the mode `published` of `pipeline.align`. A line is `<id>,x0..x67,y0..y67`; infinite means that
no face was found (published code).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.geometry import complete, rescale
from pipeline.types import AlignedFaces, Landmarks

CANVAS = 224  # side of the authors' crops, pixels
FAR = 1e6  # pixels; larger coordinates are errors


def extract(faces: AlignedFaces, file: str | None = None) -> Landmarks:
    """Read the landmarks of these faces from `file`, one path or several separated by commas (train, test).

    "no_face" where the authors found none, "not_listed" where their file lacks the image. Raises UserError on
    a missing file, a malformed line and images whose names the file cannot tell apart.
    """
    if not file:
        raise UserError("the extractor 'published' needs the option file: the path of the authors' landmarks.txt")
    rows = _rows(faces.ids)
    points = np.full((len(faces.ids), 68, 2), np.nan)
    status = ["unreadable" if placed == "unreadable" else "not_listed" for placed in faces.status]
    for path in file.split(","):
        for row, landmarks in _wanted(Path(path.strip()), rows):
            points[row] = rescale(landmarks, CANVAS, faces.size) if complete(landmarks) else np.nan
            status[row] = "ok" if complete(landmarks) else "no_face"
    return Landmarks(points.astype(np.float32), status, np.full(len(status), np.nan, np.float32))


def _rows(ids: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, name in enumerate(ids):
        first = rows.setdefault(_key(name), row)
        if first != row:
            raise UserError(
                f"the extractor 'published' cannot tell {ids[first]} from {name}: the authors' file has file names "
                "only; choose another extractor for this dataset"
            )
    return rows


def _wanted(path: Path, rows: dict[str, int]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Read a file line by line; yield the row and points (68, 2) of the images that are wanted."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                name, comma, numbers = line.partition(",")
                row = rows.get(_key(name))
                if not comma and line.strip():
                    raise _malformed(path, number)
                if row is not None:
                    yield row, _points(numbers, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"option file: {path} cannot be read ({error})") from None


def _points(numbers: str, path: Path, line: int) -> NDArray[np.float64]:
    try:
        values = np.array([float(number) for number in numbers.split(",")])
    except ValueError:
        raise _malformed(path, line) from None
    if values.size != 2 * 68 or (np.abs(values[np.isfinite(values)]) > FAR).any():
        raise _malformed(path, line)
    return values.reshape(2, 68).T


def _malformed(path: Path, line: int) -> UserError:
    return UserError(
        f"{path}, line {line}: not an id, 68 x and 68 y separated by commas; use the authors' file unchanged"
    )


def _key(name: str) -> str:
    """Reduce an image's name to what the authors' ids and ours share: the file, and AffectNet's train_set or val_set.

    AffectNet numbers train and validation images independently, so its file name alone is not enough.
    """
    path = PurePosixPath(name.strip())
    sets = [part for part in path.parts if part in ("train_set", "val_set")]
    return "/".join([*sets, path.stem])
