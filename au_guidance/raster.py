"""Ellipses to the grid that an AU map is made of: whole pixels as the published code fills them, or antialiased.

A map is blurred on a 28x28 grid and interpolated from it. Only cells that the ellipses of an AU can touch are drawn.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 28  # every map is blurred on a 28x28 grid (published code)
BACKGROUND = 1e-4  # of the published canvas
SUBCELLS = 4  # per grid cell and axis, for antialiased shapes

Floats = NDArray[np.floating]
Ellipses = Sequence[tuple[float, ...]]  # centre x, y, radii, angle, as `au_guidance.heatmap.shapes` gives them
Cells = tuple[slice, slice]  # rows and columns


def touched(ellipses: Ellipses, size: int) -> Cells:
    """Return the cells of the grid that the ellipses can reach once blurred and interpolated, with a margin.

    Only these are drawn. If a cell is not a whole number of pixels, it is the whole grid.
    """
    if size % GRID:
        return slice(0, GRID), slice(0, GRID)
    discs = [(x, y, _reach(rx, ry, size / (GRID * SUBCELLS))) for x, y, rx, ry, _ in ellipses]
    left, right = min(x - reach for x, _, reach in discs), max(x + reach for x, _, reach in discs)
    top, bottom = min(y - reach for _, y, reach in discs), max(y + reach for _, y, reach in discs)
    step = size // GRID
    return _clipped(top // step, bottom // step), _clipped(left // step, right // step)


def _reach(rx: float, ry: float, step: float) -> float:
    """Return how far from its centre an ellipse is visible: its edge is a subcell wide across the shorter radius."""
    return max(rx, ry, step / 2) * (1 + step / 2 / max(min(rx, ry), step / 2))


def _clipped(first: float, last: float) -> slice:
    start = int(min(max(first - 3, 0), GRID))
    return slice(start, int(min(max(last + 4, start), GRID)))


def pixels(cells: Cells, size: int) -> Cells:
    """Return the pixels of a map of `size` that lie in the given cells."""
    rows, columns = (slice(part.start * size // GRID, part.stop * size // GRID) for part in cells)
    return rows, columns


def raster_published(ellipses: Ellipses, cells: Cells, size: int) -> NDArray[np.float32] | None:
    """Fill ellipses in whole pixels, shrink and blur them; None where no pixel is covered."""
    rows, columns = pixels(cells, size)
    canvas = np.full((rows.stop - rows.start, columns.stop - columns.start), BACKGROUND, np.float32)
    for x, y, rx, ry, _ in ellipses:
        centre = round(x) - columns.start, round(y) - rows.start
        cv2.ellipse(canvas, centre, (round(rx), round(ry)), 0, 0, 360, 255, cv2.FILLED)
    if canvas.max() < 1:
        return None
    shape = [part.stop - part.start for part in cells]
    grid = cv2.resize(canvas, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blur(grid, (3, 3)), np.float32)


def raster_smooth(ellipses: Ellipses, cells: Cells, size: int) -> NDArray[np.float32] | None:
    """Average how much of each cell ellipses cover, and blur; None where they cover nothing."""
    step = size / (GRID * SUBCELLS)  # side of a subcell, pixels
    down, right = ((np.arange(part.start * SUBCELLS, part.stop * SUBCELLS) + 0.5) * step - 0.5 for part in cells)
    covered = np.zeros((down.size, right.size))
    for ellipse in ellipses:
        reach = _reach(ellipse[2], ellipse[3], step)
        window = _near(down, ellipse[1], reach), _near(right, ellipse[0], reach)
        seen = _coverage(right[window[1]][None, :], down[window[0]][:, None], ellipse, step)
        covered[window] = np.maximum(covered[window], seen)
    if not covered.any():
        return None
    grid = covered.reshape(down.size // SUBCELLS, SUBCELLS, right.size // SUBCELLS, SUBCELLS).mean((1, 3))
    return np.asarray(cv2.blur((255 * grid).astype(np.float32), (3, 3)), np.float32)


def _near(middles: Floats, centre: float, reach: float) -> slice:
    first, last = np.searchsorted(middles, (centre - reach, centre + reach))
    return slice(int(first), int(last))


def _coverage(x: Floats, y: Floats, ellipse: tuple[float, ...], step: float) -> Floats:
    """Return how much of each subcell lies inside the ellipse, with an edge one subcell wide."""
    right, below, angle = x - ellipse[0], y - ellipse[1], ellipse[4]
    rx, ry = np.maximum(ellipse[2:4], step / 2)
    u = right * math.cos(angle) + below * math.sin(angle)
    v = below * math.cos(angle) - right * math.sin(angle)
    distance = (np.hypot(u / rx, v / ry) - 1) * min(rx, ry)
    return np.asarray(np.clip(0.5 - distance / step, 0, 1))
