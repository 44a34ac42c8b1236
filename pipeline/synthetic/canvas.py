"""The flat sheet that a face is painted on, seen from the front: colour, height and gloss."""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Field = NDArray[Any]  # float32; cv2 and numpy lose track of the precision

_BOX = (-1.05, -1.35, 1.05, 1.65)  # head frame: left, top, right, bottom
_SUBPIXEL_BITS = 4


def spline(points: ArrayLike, steps: int = 8) -> Field:
    """Return an open Catmull-Rom curve through points (n, 2), `steps` samples per span and the last point."""
    knots = np.asarray(points, np.float32)
    padded = np.vstack([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    before, start, end, after = (padded[i : len(knots) - 1 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None]
    linear = (end - before) * t
    square = (2 * before - 5 * start + 4 * end - after) * t**2
    cube = (3 * start - before - 3 * end + after) * t**3
    curve = (2 * start + linear + square + cube) / 2
    return np.vstack([curve.reshape(-1, 2), knots[-1:]])


@dataclass(eq=False)
class Canvas:
    """A sheet, or a window on a part of one; positions and lengths in eye distances, strengths from 0 to 1.

    `x`, `y` (h, w) are each pixel's place in the head frame; `height` and `gloss` (h, w); `colour` (h, w, 3), 0 to 255.
    """

    DENSITY: ClassVar = 120  # pixels per eye distance

    origin: Field
    x: Field
    y: Field
    height: Field
    gloss: Field
    colour: Field

    @classmethod
    def blank(cls) -> "Canvas":
        """Return an empty sheet for the whole face."""
        left, top, right, bottom = _BOX
        columns = left + np.arange(int((right - left) * cls.DENSITY), dtype=np.float32) / cls.DENSITY
        rows = top + np.arange(int((bottom - top) * cls.DENSITY), dtype=np.float32) / cls.DENSITY
        x, y = np.meshgrid(columns, rows)
        origin = np.array([left, top], np.float32)
        return cls(origin, x, y, np.zeros_like(x), np.ones_like(x), np.zeros((*x.shape, 3), np.float32))

    def window(self, points: ArrayLike, margin: float) -> "Canvas":
        """Return a view of the rectangle around points (n, 2); painting on it paints on this sheet."""
        inside = np.atleast_2d(np.asarray(points, np.float32))
        low = np.floor((inside.min(0) - margin - self.origin) * self.DENSITY).astype(int).clip(0)
        high = np.ceil((inside.max(0) + margin - self.origin) * self.DENSITY).astype(int).clip(low + 2)
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        origin = self.origin + low.astype(np.float32) / self.DENSITY
        return Canvas(origin, self.x[part], self.y[part], self.height[part], self.gloss[part], self.colour[part])

    def to_pixels(self, points: NDArray[np.floating]) -> Field:
        """Convert head-frame points (..., 2) to this sheet's pixels."""
        return ((points - self.origin) * self.DENSITY).astype(np.float32)

    def area(self, outline: ArrayLike, blur: float = 0) -> Field:
        """Return the mask (h, w) of a filled outline."""
        mask = cv2.fillPoly(
            np.zeros(self.x.shape, np.uint8), [self._fixed_point(outline)], 255, cv2.LINE_AA, _SUBPIXEL_BITS
        )
        return self._soft(mask, blur)

    def stroke(self, path: ArrayLike, width: float, blur: float) -> Field:
        """Return the mask (h, w) of a line along a path."""
        return self._soft(self._lines([self._fixed_point(path)], max(1, round(width * self.DENSITY))), blur)

    def hairs(self, starts: Field, ends: Field) -> Field:
        """Return the mask (h, w) of many thin straight lines between starts and ends (n, 2)."""
        return self._soft(self._lines(list(np.stack([self._fixed_point(starts), self._fixed_point(ends)], 1)), 1))

    def spot(self, centre: ArrayLike, width: float, height: float) -> Field:
        """Return a Gaussian bell (h, w) of peak 1; at `width` beside its centre it has fallen to 1/e."""
        x, y = np.asarray(centre, np.float32)
        across = np.exp(-(((self.x[:1] - x) / np.float32(width)) ** 2))
        down = np.exp(-(((self.y[:, :1] - y) / np.float32(height)) ** 2))
        return np.asarray(across * down)

    def mix(self, mask: Field, colour: ArrayLike) -> None:
        """Blend a colour in."""
        self.colour += mask[..., None] * (np.asarray(colour, np.float32) - self.colour)

    def darken(self, mask: Field, factor: ArrayLike) -> None:
        """Multiply the colour by a factor, or one per channel, where the mask is 1."""
        self.colour *= 1 + mask[..., None] * (np.asarray(factor, np.float32) - 1)

    def raise_spot(self, centre: ArrayLike, width: float, height: float, amount: float) -> None:
        """Raise, or with a negative amount lower, a soft bump."""
        part = self.window(centre, 2.6 * max(width, height))
        part.height += np.float32(amount) * part.spot(centre, 1.4 * width, 1.4 * height)

    def darken_spot(
        self, centre: ArrayLike, width: float, height: float, *, factor: ArrayLike, strength: float = 1
    ) -> None:
        """Multiply the colour of a soft spot by a factor."""
        part = self.window(centre, 2.4 * max(width, height))
        part.darken(np.float32(strength) * part.spot(centre, width, height), factor)

    def crease(self, points: ArrayLike, strength: float, *, width: float, depth: float, shade: float = 0.28) -> None:
        """Paint a wrinkle along a curve: a dark groove with a ridge above it."""
        if strength < 0.04:
            return
        path = spline(points)
        part = self.window(path, 5 * width)
        mask = part.stroke(path, 1.1 * width, width) * np.float32(min(strength, 1.2))
        ridge = np.roll(mask, -int(width * 2 * self.DENSITY), 0)
        part.height += np.float32(depth) * (ridge / 2 - mask)
        part.darken(np.minimum(mask * np.float32(shade * 2), 0.8), 0.45)

    def _fixed_point(self, points: ArrayLike) -> NDArray[np.int32]:
        scale = self.DENSITY * 2**_SUBPIXEL_BITS
        return np.asarray(np.round((np.asarray(points, np.float32) - self.origin) * scale), np.int32)

    def _lines(self, paths: list[NDArray[np.int32]], thickness: int) -> Field:
        mask = np.zeros(self.x.shape, np.uint8)
        return cv2.polylines(mask, paths, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _soft(self, mask: Field, blur: float = 0) -> Field:
        soft = mask.astype(np.float32) / 255
        return cv2.GaussianBlur(soft, (0, 0), blur * self.DENSITY) if blur > 0 else soft
