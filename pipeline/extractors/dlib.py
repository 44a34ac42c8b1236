"""dlib's 68-point predictor; offline. It was trained on iBUG 300-W, whose licence excludes commercial use.

The predictor starts from the box that a face on the template has: on 262 faces that gives steadier points than the
detector's own box. A face that alignment did not find gets one more look in its crop (status "redetected").
"""

import numpy as np

from pipeline.detectors.dlib import predict, redetect
from pipeline.geometry import face_box
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces) -> Landmarks:
    """Place the landmarks of all faces; one that nobody has seen stays without (status "no_face")."""
    points = np.full((len(faces.ids), 68, 2), np.nan, np.float32)
    status = []
    for row, placed in enumerate(faces.status):
        box, found = None, "unreadable"
        if placed in ("ok", "several"):
            box, found = face_box(faces.size), "ok"
        elif placed != "unreadable":
            box = redetect(faces.image(row))
            found = "no_face" if box is None else "redetected"
        if box is not None:
            points[row] = predict(faces.image(row), box)
        status.append(found)
    return Landmarks(points, status, np.full(len(status), np.nan, np.float32))
