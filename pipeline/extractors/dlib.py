"""dlib's 68-point predictor; offline. It was trained on iBUG 300-W, whose licence excludes commercial use.

The predictor starts from the box that a face on the template has: on 262 faces that gives steadier points than the
detector's own box. A face that alignment did not find is searched once more in its view (status "redetected").
"""

import numpy as np

from pipeline.detectors.dlib import predict_landmarks
from pipeline.extractors._boxes import locate
from pipeline.geometry import invert, transform
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces, weights: str = "") -> Landmarks:
    """Place the landmarks of all faces; an undetected face stays without (status "no_face").

    `weights` is the path of another 68-point predictor of dlib.
    """
    count, back = len(faces.ids), invert(faces.view_matrix)
    points = np.full((count, 68, 2), np.nan, np.float32)
    status = []
    for row in range(count):
        face = locate(faces, row)
        if face.box is not None and face.points5 is not None:
            points[row] = transform(back, predict_landmarks(faces.view(row), face.box, weights))
        status.append("no_face" if face.status == "from_box" else face.status)
    return Landmarks(points, status, np.full(count, np.nan, np.float32))
