"""Where the face lies in the view of a crop: on the template, or where a detector or the dataset sees it."""

from typing import NamedTuple

import numpy as np

from pipeline.detectors import blaze
from pipeline.geometry import Points, box_around, transform, transform_box
from pipeline.types import AlignedFaces


class Located(NamedTuple):
    """The box (4,) and five points (5, 2) of a face in pixels of its view, None where unknown, and a status."""

    box: Points | None
    points5: Points | None
    status: str


def locate(faces: AlignedFaces, row: int) -> Located:
    """Find the face of a row: "ok" on the template; one that alignment did not find is searched once more.

    The search gives "redetected", the dataset's box alone "from_box", and nothing "no_face".
    """
    if faces.status[row] == "unreadable":
        return Located(None, None, "unreadable")
    if faces.on_template(row):
        points5 = transform(faces.view_matrix, faces.template)
        return Located(box_around(points5), points5, "ok")
    return search(faces, row)


def search(faces: AlignedFaces, row: int) -> Located:
    """Find the face in the view of a row, wherever alignment put it: "redetected", "from_box" or "no_face"."""
    known = transform_box(faces.view_matrix, faces.boxes[row]) if np.isfinite(faces.boxes[row]).all() else None
    detection = blaze.find(faces.view(row), known)
    if detection is not None:
        return Located(box_around(detection.points5), detection.points5, "redetected")
    return Located(known, None, "no_face" if known is None else "from_box")
