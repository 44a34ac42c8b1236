"""Controls: maps that the AU term may align to instead of the AU map, to tell what about the AU map matters.

Every map is float32 (224, 224) in [0, 1] over the square of the image, as the AU map is. Faces without an AU map of
their own have none here either, so that all variants are guided on the same faces.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from au_guidance.expressions import SIX, Expression
from au_guidance.heatmap import CANVAS, draw
from train.card.schema import Heatmap

Map = NDArray[np.float32]

# No expression keeps its map or gets one that is nearly its own: those of Fear and Surprise differ little (cosine 0.97
# on real faces), so each of the two gets one of the other four.
SHUFFLED = {
    Expression.HAPPINESS: Expression.ANGER,
    Expression.ANGER: Expression.HAPPINESS,
    Expression.SADNESS: Expression.SURPRISE,
    Expression.SURPRISE: Expression.SADNESS,
    Expression.FEAR: Expression.DISGUST,
    Expression.DISGUST: Expression.FEAR,
}
SIGMA = 8.0  # of a landmark's Gaussian, pixels of the canvas (ours)


def draw_control(kind: str, expression: Expression, shapes: NDArray[np.floating], settings: Heatmap) -> Map:
    """Draw a control for a face with an AU map, from its `shapes` (s, 5) on the canvas.

    shuffled: the AU map of another expression on this face, see SHUFFLED. agnostic: the mean of the AU maps of the six
    on this face. uniform: ones. An AU map that lies outside the image counts as zeros.
    """
    if kind == "uniform":
        return np.ones((CANVAS, CANVAS), np.float32)
    if kind == "shuffled":
        return _drawn(shapes, SHUFFLED[expression], settings)
    maps = np.stack([_drawn(shapes, other, settings) for other in SIX])
    return np.asarray(maps.mean(0, dtype=np.float32), np.float32)


def landmark_map(points: ArrayLike, sigma: float = SIGMA) -> Map:
    """Add up 68 equal Gaussians on the landmarks (68, 2), pixels of the canvas; scaled so that the largest value is 1.

    L(x, y) = sum_k exp(-((x - x_k)^2 + (y - y_k)^2) / (2 sigma^2)). It shows where a face's parts are, but not the
    expression's action units. A face whose landmarks all lie far outside gives zeros.
    """
    pixels = np.arange(CANVAS)
    across, down = (
        np.exp(-((axis[:, None] - pixels) ** 2) / (2 * sigma**2)) for axis in np.asarray(points, np.float64).T
    )
    total = down.T @ across
    peak = total.max()
    return np.asarray(total / peak if peak > 0 else total, np.float32)


def _drawn(shapes: NDArray[np.floating], expression: Expression, settings: Heatmap) -> Map:
    drawn = draw(shapes, expression, codebook=settings.codebook, geometry=settings.geometry)
    return np.zeros((CANVAS, CANVAS), np.float32) if drawn is None else drawn
