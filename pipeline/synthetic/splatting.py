"""Draw a dense cloud of surface points: the nearest one in each pixel, pin-holes closed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.canvas import Field

_SEEN_THROUGH = 0.08  # a point this far behind its neighbours is the far side, seen through a gap
_FAR = -9.0


@dataclass(frozen=True, eq=False)
class Visible:
    """Which points are seen: `points` (k,) are their indices, `pixels` (k,) the flat indices of where.

    `covered` (side, side) is 1 in the outline of the whole cloud, also where a pixel got no point.
    """

    points: NDArray[np.intp]
    pixels: NDArray[np.intp]
    covered: Field


def find_visible(places: Field, depth: Field, candidates: NDArray[np.intp], side: int) -> Visible:
    """Sort out which candidates among the points, with places (2, n) in pixels and depth (n,), are seen."""
    columns, rows = np.floor(places[:, candidates]).astype(np.int32)
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    points = candidates[inside]
    pixels = (rows * side + columns)[inside]
    levels = np.clip((depth[points] + 2) * 12000, 0, 65535).astype(np.uint16)
    order = np.argsort(levels, kind="stable")
    nearest = np.full(side * side, -1)
    nearest[pixels[order]] = points[order]  # of several points in a pixel the last one stays
    hit = nearest >= 0
    surface = np.where(hit, depth[nearest], np.float32(_FAR)).reshape(side, side)
    closed = cv2.erode(cv2.dilate(surface, np.ones((3, 3))), np.ones((3, 3)))
    covered = cv2.morphologyEx(hit.reshape(side, side).astype(np.float32), cv2.MORPH_CLOSE, np.ones((5, 5)))
    kept = np.flatnonzero(hit & (surface >= closed - _SEEN_THROUGH).ravel())
    return Visible(nearest[kept], kept, covered)


def fill(visible: Visible, colour: Field) -> Field:
    """Return the points' colours (k, 3) as a premultiplied image (side, side, 4) with the holes filled."""
    layer = np.zeros((*visible.covered.shape, 4), np.float32)
    flat = layer.reshape(-1, 4)
    flat[visible.pixels, :3] = colour
    flat[visible.pixels, 3] = 1
    smooth = cv2.GaussianBlur(layer, (0, 0), 1.0)
    holes = (layer[..., 3] == 0) & (visible.covered > 0)
    layer[holes] = smooth[holes] / np.maximum(smooth[holes][:, 3:], 1e-4)
    layer[..., :3] *= visible.covered[..., None]
    layer[..., 3] = visible.covered
    return layer
