"""Stored landmarks, read on the 224-px canvas on which AU shapes are drawn and maps are compared."""

import numpy as np
from numpy.typing import NDArray

from au_guidance.heatmap import CANVAS
from pipeline.geometry import Points, rescale
from pipeline.storage.shards import Shard, ShardFolder


def read_landmarks(stored: Shard | ShardFolder) -> Points:
    """Return the landmarks (n, 68, 2) of a shard or a folder in pixels of the canvas, NaN where there are none."""
    return to_canvas(stored.columns("points")["points"], int(stored.attributes["size"]))


def to_canvas(points: NDArray[np.floating], size: int) -> Points:
    """Move points (..., 2) of a crop of `size` to the canvas."""
    return rescale(points.astype(np.float64), size, CANVAS)
