"""The boxes in which the extractors that run a network look for a face."""

import numpy as np

from pipeline.detectors.dlib import redetect
from pipeline.geometry import Points, face_box
from pipeline.types import AlignedFaces


def find_boxes(faces: AlignedFaces, *, from_source: bool = False) -> tuple[list[Points | None], list[str]]:
    """Return the box x0, y0, x1, y1 of each face in crop pixels, None without one, and the status of its landmarks.

    A face that alignment did not find is searched once more ("redetected"); `from_source` then takes the dataset's box
    ("from_box").
    """
    found: list[tuple[Points | None, str]] = []
    for row, placed in enumerate(faces.status):
        if placed in ("ok", "several"):
            found.append((face_box(faces.size), "ok"))
        elif placed == "unreadable":
            found.append((None, placed))
        elif (box := redetect(faces.image(row))) is not None:
            found.append((box, "redetected"))
        elif from_source and np.isfinite(faces.boxes[row]).all():
            found.append((faces.boxes[row].astype(np.float64), "from_box"))
        else:
            found.append((None, "no_face"))
    return [box for box, _ in found], [status for _, status in found]
