"""dlib's 68-point predictor; offline. It was trained on iBUG 300-W, whose licence excludes commercial use.

The predictor starts from the box that a face on the template has: on 262 faces that gives steadier points than the
detector's own box. A face that alignment did not find is searched once more in its crop (status "redetected").
"""

import numpy as np

from pipeline.detectors.dlib import predict_landmarks, redetect
from pipeline.geometry import face_box
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces) -> Landmarks:
    """Place the landmarks of all faces; an undetected face stays without (status "no_face")."""
    points = np.full((len(faces.ids), 68, 2), np.nan, np.float32)
    status = []
    for row, placed in enumerate(faces.status):
        box, outcome = None, "unreadable"
        if placed in ("ok", "several"):
            box, outcome = face_box(faces.size), "ok"
        elif placed != "unreadable":
            box = redetect(faces.image(row))
            outcome = "no_face" if box is None else "redetected"
        if box is not None:
            points[row] = predict_landmarks(faces.image(row), box)
        status.append(outcome)
    return Landmarks(points, status, np.full(len(status), np.nan, np.float32))
