"""Where the face lies in the view of a crop: on the template, or where a detector or the dataset sees it."""

from typing import NamedTuple

import numpy as np

from pipeline.detectors import blaze
from pipeline.detectors._mediapipe import MESH_68, face_mesh, window_of_five
from pipeline.geometry import Points, box_around, five_points, transform, transform_box
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
    """Find the face in the view of a row, wherever alignment put it: "redetected", "from_box" or "no_face".

    A picture that is a face already has it about where the template does; if FaceMesh is sure of that, nothing else is
    searched.
    """
    view = faces.view(row)
    known = transform_box(faces.view_matrix, faces.boxes[row]) if np.isfinite(faces.boxes[row]).all() else None
    if known is None:
        mesh, presence = face_mesh(view, window_of_five(transform(faces.view_matrix, faces.template)))
        if presence > blaze.SURE:
            points5 = five_points(mesh[MESH_68])
            return Located(box_around(points5), points5, "redetected")
    detection = blaze.find(view, known)
    if detection is not None:
        return Located(box_around(detection.points5), detection.points5, "redetected")
    return Located(known, None, "no_face" if known is None else "from_box")
