"""dlib's 68-point predictor; offline. It was trained on iBUG 300-W, whose licence excludes commercial use.

The predictor starts from the box that a face on the template has: on 262 faces that gives steadier points than the
detector's own box. A face that alignment did not find is searched once more in its crop (status "redetected").
"""

import numpy as np

from pipeline.detectors.dlib import predict_landmarks, redetect
from pipeline.geometry import Points, face_box
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces) -> Landmarks:
    """Place the landmarks of all faces; an undetected face stays without (status "no_face")."""
    boxes, status = find_boxes(faces)
    points = np.full((len(status), 68, 2), np.nan, np.float32)
    for row, box in enumerate(boxes):
        if box is not None:
            points[row] = predict_landmarks(faces.image(row), box)
    return Landmarks(points, status, np.full(len(status), np.nan, np.float32))


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
