"""Faces in a picture that lies on its side or stands on its head, as of a camera that did not store how it was held."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Image, Points
from pipeline.types import DOUBTFUL_STEPS, Detection

Search = Callable[[Image], Sequence[Detection | None]]


def search_turned(image: Image, search: Search) -> list[Detection]:
    """Search an image (h, w, 3) after one, three and two quarter turns, until there are faces that leave no doubt.

    Boxes and points of the faces, which come from left to right, are in pixels of the image as it was given.
    """
    for turns in (1, 3, 2):
        found = search(np.ascontiguousarray(np.rot90(image, turns)))
        faces = [_turned_back(face, turns, image.shape) for face in found if face and not is_doubtful(face)]
        if faces:
            return sorted(faces, key=lambda face: float(face.box[0]))
    return []


def is_doubtful(face: Detection | None) -> bool:
    """Return whether the detector found a face only by lowering its threshold."""
    return face is not None and face.step in DOUBTFUL_STEPS


def quarter_turns(matrix: NDArray[np.float64]) -> int:
    """Return by how many degrees, 0, 90, 180 or 270, a face lies turned clockwise in its image.

    `matrix` (2, 3) is that from the image to the upright face. A head that is tilted by up to 60 degrees is upright.
    """
    degrees = -math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    return 0 if abs(degrees) <= 60 else round(degrees / 90) * 90 % 360


def _turned_back(face: Detection, turns: int, shape: tuple[int, ...]) -> Detection:
    """Return a face that was found after quarter turns to the left in pixels of the image of this shape."""
    height, width = shape[:2]

    def back(points: Points) -> Points:
        x, y = points[:, 0], points[:, 1]
        where = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}
        return np.stack(where[turns], axis=1)

    corners = back(face.box.reshape(2, 2))
    return replace(face, box=np.concatenate([corners.min(0), corners.max(0)]), points5=back(face.points5))
