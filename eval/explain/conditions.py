"""Under which conditions a face was seen: light, sharpness, edge of the picture and head turn, and which of them warn.

The thresholds are ours: nearly all faces of FER2013 and RAF-DB lie within the first three (docs/explain.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from au_guidance.heatmap import CANVAS
from eval.explain.reading import face_mask
from pipeline.geometry import invert, transform

DARK = 45.0  # brightness, of 255
BLURRED = 0.27  # sharpness
CUT_OFF = 0.3  # share of the face
PADDED = 0.7  # share of the crop
TURNED = 0.75  # a head turn of about 40 degrees
SIDE = 64  # pixels at which light and sharpness are measured
MIDDLE = slice(SIDE // 5, 4 * SIDE // 5)
PLACES = np.arange(3, CANVAS, 7)  # on the canvas, both ways: the points that measure what lies outside


@dataclass(frozen=True)
class Conditions:
    """How a face was seen.

    `brightness` is the median luma of its middle, 0 to 255. `sharpness` is the deviation of the Laplacian there divided
    by that of the luma, on a crop of 64 px: a blurred face has little. `padding` is the share of the crop outside the
    image, `cut_off` that of the face. `turn` is 0 for a face that looks into the camera and grows to 1 as the nose
    moves over an eye's outer corner. `cut_off` and `turn` are None without landmarks.
    """

    brightness: float
    sharpness: float
    padding: float
    cut_off: float | None
    turn: float | None

    @property
    def warnings(self) -> list[str]:
        """Why the answer is doubtful, a clause for each condition."""
        return list(self._warnings())

    def _warnings(self) -> Iterator[str]:
        if self.brightness < DARK:
            yield "the face is dark"
        if self.sharpness < BLURRED:
            yield "the face is blurred"
        if self.cut_off is not None and self.cut_off > CUT_OFF:
            yield f"{100 * self.cut_off:.0f} % of the face lies outside the picture"
        elif self.padding > PADDED:
            yield f"{100 * self.padding:.0f} % of the face's crop lies outside the picture"
        if self.turn is not None and self.turn > TURNED:
            yield "the head is turned far to the side, where action units are hidden"


def measure(
    crop: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    image_shape: tuple[int, ...],
    points: NDArray[np.float64] | None,
) -> Conditions:
    """Measure a crop (s, s, 3).

    `matrix` (2, 3) maps pixels of the image, of `image_shape`, to those of the canvas, 224 px for the whole crop;
    `points` are 68 landmarks (68, 2) on the canvas.
    """
    luma = cv2.cvtColor(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    middle, edges = luma[MIDDLE, MIDDLE], cv2.Laplacian(luma, cv2.CV_32F)[MIDDLE, MIDDLE]
    contrast = float(middle.std())
    outside = _outside(matrix, image_shape)
    on_face = None if points is None else face_mask(points)[PLACES[:, None], PLACES]
    return Conditions(
        brightness=float(np.median(middle)),
        sharpness=float(edges.std()) / contrast if contrast > 0 else 0.0,
        padding=float(outside.mean()),
        cut_off=None if on_face is None or not on_face.any() else float(outside[on_face].mean()),
        turn=None if points is None else _turn(points),
    )


def _outside(matrix: NDArray[np.float64], image_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Say which points of a grid on the crop lie outside the image."""
    x, y = np.moveaxis(transform(invert(matrix), np.stack(np.meshgrid(PLACES, PLACES), -1)), -1, 0)
    height, width = image_shape[:2]
    return np.asarray((x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5))


def _turn(points: NDArray[np.float64]) -> float:
    """Compare the distances of the nose's tip to the two outer eye corners, along the line between these."""
    left, right, nose = points[36], points[45], points[30]
    across = (right - left) / max(float(np.sum((right - left) ** 2)), 1e-12)
    place = float((nose - left) @ across)  # 0 at the left corner, 1 at the right one
    return min(abs(2 * place - 1), 1.0)
