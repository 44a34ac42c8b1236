"""AU maps of a batch, drawn on a device from the stored shapes, equal to those of `au_guidance.heatmap.draw`.

A cell of the 28x28 grid is the mean of the four pixels in its middle, in the published drawing. Which of those a filled
ellipse covers follows from its first and last pixel in each row, measured once for every pair of radii on the picture
that cv2 draws; an analytic ellipse would differ at the edge, because cv2 fills a polygon.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.expressions import Expression, codebook
from au_guidance.heatmap import CANVAS, geometry_table
from au_guidance.loss import resize
from au_guidance.raster import BACKGROUND, GRID, SUBCELLS
from train.card.schema import Card, Heatmap
from train.data.faces import Threads
from train.data.prepared import Prepared, Rows
from train.data.transforms import precrop_size
from train.hardware import free_memory

LARGEST = 1000  # radius in pixels of the canvas; no face has a larger one, and it would cover the canvas all the same
CELL = CANVAS // GRID


class Renderer:
    """Draws the AU maps of rows of a dataset, from shapes (n, s, 5) on the canvas and class ids (n,)."""

    def __init__(
        self, shapes: NDArray[np.floating], expressions: NDArray[np.integer], settings: Heatmap, device: torch.device
    ) -> None:
        table = geometry_table(settings.geometry)
        units = [[table.rows(au) for au in codebook(settings.codebook)[expression]] for expression in Expression]
        most, widest = max(map(len, units)), max(len(unit) for rows in units for unit in rows)
        index = np.zeros((len(units), most, widest), np.int64)
        for of_class, rows in zip(index, units, strict=True):
            for place in range(most if rows else 0):  # repeating an AU or an ellipse changes no maximum
                of_class[place] = np.resize(rows[min(place, len(rows) - 1)], widest)
        drawable = np.isfinite(shapes).all((1, 2)) & np.array([bool(rows) for rows in units])[expressions]
        shapes = np.where(drawable[:, None, None], shapes, 0)
        self.published = table.drawing == "published"
        if self.published:
            shapes[..., 2:4] = np.minimum(shapes[..., 2:4], LARGEST)
            radii, pair = np.unique(np.rint(shapes[..., 2:4]).astype(int).reshape(-1, 2), axis=0, return_inverse=True)
            self.pair = torch.from_numpy(pair.reshape(shapes.shape[:2])).to(device)
            self.extents = torch.from_numpy(_extents(radii)).to(device)
        put = {"index": index, "expressions": expressions, "drawable": drawable, "shapes": shapes.astype(np.float32)}
        self.put = {name: torch.from_numpy(values).to(device) for name, values in put.items()}

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps (b, 224, 224) of rows (b,), and which faces have one; zeros for the others."""
        units = self.put["index"][self.put["expressions"][rows]]
        ellipses = self.put["shapes"][rows[:, None, None], units]
        background = BACKGROUND if self.published else 0.0
        drawn = torch.full((len(rows), CANVAS, CANVAS), background, device=rows.device)
        for unit in range(units.shape[1]):  # one by one: all at once would take seven times the memory
            if self.published:
                grid = self._published(ellipses[:, unit], self.pair[rows[:, None], units[:, unit]])
            else:
                grid = _smooth(ellipses[:, unit])
            blurred = F.avg_pool2d(F.pad(grid[:, None], (1,) * 4, "reflect"), 3, 1)
            larger = F.interpolate(blurred, (CANVAS, CANVAS), mode="bilinear")[:, 0]
            torch.maximum(drawn, larger, out=drawn)
        low, high = drawn.amin((1, 2), keepdim=True), drawn.amax((1, 2), keepdim=True)
        valid = self.put["drawable"][rows] & (high > low).flatten()
        stretched = (drawn - low) / torch.where(high > low, high - low, 1.0)
        return stretched.masked_fill(~valid[:, None, None], 0.0), valid

    def _published(self, ellipses: Tensor, pairs: Tensor) -> Tensor:
        """Draw one AU: ellipses (b, e, 5) with their pairs of radii (b, e) to a grid (b, 28, 28)."""
        cells = CELL * torch.arange(GRID, device=ellipses.device) + CELL // 2
        seen = torch.stack([cells - 1, cells], 1).flatten()  # the pixels that bilinear shrinking looks at
        centre = ellipses[..., :2].round().long()
        reach = self.extents.shape[1] // 2
        down = (seen - centre[..., 1:]).clamp(-reach, reach) + reach
        first, last = self.extents[pairs[..., None], down].long().unbind(-1)
        across = seen - centre[..., :1]
        covered = (across[..., None, :] >= first[..., None]) & (across[..., None, :] <= last[..., None])
        pixels = torch.where(covered.any(1), 255.0, BACKGROUND)
        return F.avg_pool2d(pixels[:, None], 2)[:, 0]


def _extents(radii: NDArray[np.integer]) -> NDArray[np.int16]:
    """Measure the first and last pixel of every row of filled ellipses (p, 2): (p, 2 * r + 1, 2), r above all radii."""
    reach = int(radii.max(initial=0)) + 1
    extents = np.empty((len(radii), 2 * reach + 1, 2), np.int16)
    extents[...] = 1, -1  # an empty row
    for rows, (rx, ry) in zip(extents, radii.tolist(), strict=True):
        picture = np.zeros((2 * ry + 3, 2 * rx + 3), np.uint8)
        cv2.ellipse(picture, (rx + 1, ry + 1), (rx, ry), 0, 0, 360, 1, cv2.FILLED)
        lines = np.flatnonzero(picture.any(1))
        filled = picture[lines]
        edges = np.stack([filled.argmax(1), filled.shape[1] - 1 - filled[:, ::-1].argmax(1)], 1)
        rows[lines - ry - 1 + reach] = edges - (rx + 1)
    return extents


def _smooth(ellipses: Tensor) -> Tensor:
    """Draw one AU of the smooth drawing: ellipses (b, e, 5) to a grid (b, 28, 28)."""
    step = CELL / SUBCELLS
    middles = (torch.arange(GRID * SUBCELLS, device=ellipses.device) + 0.5) * step - 0.5
    x, y, rx, ry, angle = ellipses.double()[..., None, None].unbind(2)
    right, below = middles - x, middles[:, None] - y
    across = right * angle.cos() + below * angle.sin()
    along = below * angle.cos() - right * angle.sin()
    rx, ry = rx.clamp(min=step / 2), ry.clamp(min=step / 2)
    distance = (torch.hypot(across / rx, along / ry) - 1) * torch.minimum(rx, ry)
    covered = (0.5 - distance / step).clamp(0, 1).amax(1).float()
    return F.avg_pool2d(255 * covered[:, None], SUBCELLS)[:, 0]


KEPT = 0.1  # share of the free memory for drawn maps


class GuidanceMaps:
    """The maps that the AU term of a card aligns to, (b, s, s) on a device, and which faces have one.

    A GPU draws them for the batch. The CPU draws each once and keeps it in half precision (at most 100 kB, off by at
    most 0.0003), as long as a tenth of the free memory holds them, no larger than the faces that windows are cut from;
    controls are drawn by the CPU in any case.
    """

    def __init__(self, prepared: Prepared, card: Card, device: torch.device) -> None:
        self.prepared, self.kind, self.device = prepared, card.guidance.map, device
        self.renderer = None
        if device.type == "cuda" and self.kind == "own":
            self.renderer = Renderer(prepared.shapes, prepared.expressions, card.heatmap, device)
        self.drawn: dict[int, Tensor | None] = {}
        self.side = min(precrop_size(card.model.image_size), CANVAS)
        self.room = int(KEPT * free_memory(torch.device("cpu")) / (2 * self.side**2))
        if self.kind == "landmarks":
            _ = prepared.points  # read once, before there are threads

    def on_host(self, rows: Rows, pool: Threads) -> tuple[Tensor, Tensor] | None:
        """Draw the maps of a batch on the CPU, and return which faces have one; None if the device draws them."""
        if self.renderer:
            return None
        pinned = self.device.type == "cuda"
        maps = torch.zeros((len(rows), self.side, self.side), dtype=torch.float16, pin_memory=pinned)
        valid = torch.zeros(len(rows), dtype=torch.bool, pin_memory=pinned)
        for number, drawn in enumerate(pool.map(self._draw, rows.tolist())):
            if drawn is not None:
                maps[number], valid[number] = drawn, True
        return maps, valid

    def on_device(self, rows: Rows, drawn: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Move the maps of `on_host` to the device, or draw them there."""
        if drawn is None:
            assert self.renderer
            return self.renderer(torch.from_numpy(rows).to(self.device, non_blocking=True))
        maps, valid = (part.to(self.device, non_blocking=True) for part in drawn)
        return maps.float(), valid

    def _draw(self, row: int) -> Tensor | None:
        if row in self.drawn:
            return self.drawn[row]
        drawn = self.prepared.guidance_map(row, self.kind)
        half = None if drawn is None else resize(torch.from_numpy(drawn)[None], self.side)[0].half()
        if len(self.drawn) < self.room:
            self.drawn[row] = half
        return half
