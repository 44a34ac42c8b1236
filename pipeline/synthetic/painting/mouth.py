"""Lips, and what an open mouth shows: teeth, tongue, darkness."""

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas, Field, spline
from pipeline.synthetic.face_shape import Portrait


class _Lips:
    """Curves along the lips, the upper ones from left to right, the lower ones back."""

    def __init__(self, points: Field) -> None:
        self.upper, self.lower = spline(points[48:55]), spline(points[[54, 55, 56, 57, 58, 59, 48]])
        self.inner_upper, self.inner_lower = spline(points[60:65]), spline(points[[64, 65, 66, 67, 60]])
        self.gap = float(points[66, 1] - points[62, 1])  # how far the mouth is open in the middle


def paint_mouth(canvas: Canvas, portrait: Portrait) -> None:
    """Paint the mouth; teeth and tongue only inside the inner lips."""
    points = portrait.landmarks
    lips = _Lips(points)
    part = canvas.window(points[48:68], 0.14)
    _paint_lips(part, portrait, lips)
    if lips.gap > 0.012:
        _paint_inside(part, portrait, lips)
    part.darken(part.stroke(lips.inner_upper, 0.014, 0.005) * np.float32(0.8), 0.30)
    part.darken(part.stroke(lips.inner_lower, 0.010, 0.005) * np.float32(0.5), 0.5)
    for corner in points[[48, 54]]:
        canvas.raise_spot(corner, 0.03, 0.03, -0.025)
        canvas.darken_spot(corner, 0.022, 0.018, factor=0.45, strength=0.7)


def _paint_lips(part: Canvas, portrait: Portrait, lips: _Lips) -> None:
    whole = part.area(np.vstack([lips.upper, lips.lower]), 0.008)
    upper = np.vstack([lips.upper, lips.inner_upper[::-1]])
    lower = np.vstack([lips.lower, lips.inner_lower[::-1]])
    part.mix(whole * np.float32(0.9), portrait.identity.skin * portrait.identity.lip)
    part.darken(part.area(upper, 0.012) * np.float32(0.8), 0.80)
    part.height += np.float32(0.055) * part.area(upper, 0.025)
    part.height += np.float32(0.075 * (1 + 0.3 * portrait.au(17))) * part.area(lower, 0.028)
    part.gloss += np.float32(0.8) * whole
    shadow = spline(portrait.landmarks[[58, 57, 56]]) + np.array([0, 0.03], np.float32)
    part.darken(part.stroke(shadow, 0.03, 0.03) * np.float32(0.5), 0.8)


def _paint_inside(part: Canvas, portrait: Portrait, lips: _Lips) -> None:
    opening = part.area(np.vstack([lips.inner_upper, lips.inner_lower]))
    part.mix(opening, (58, 22, 22))
    _paint_upper_teeth(part, portrait, lips, opening)
    if lips.gap > 0.1:
        tongue = part.spot((0, portrait.landmarks[66, 1] - 0.015), 0.14, 0.055)
        part.mix(tongue * opening * np.float32(0.85), (150, 72, 72))
    _paint_lower_teeth(part, portrait, lips, opening)
    part.gloss *= 1 - np.float32(0.8) * opening
    part.height -= np.float32(0.10 * min(lips.gap / 0.08, 1)) * cv2.GaussianBlur(opening, (0, 0), 3)


def _paint_upper_teeth(part: Canvas, portrait: Portrait, lips: _Lips, opening: Field) -> None:
    """Smiles and raised lips bare more of them."""
    bared = min(portrait.au(12) + portrait.au(10) + portrait.au(20) + portrait.au(9), 1)
    length = 0.065 + 0.015 * portrait.au(12) + 0.02 * portrait.au(10)
    edge = lips.inner_upper * np.array([0.92, 1], np.float32) + np.array([0, length], np.float32)
    row = np.vstack([lips.inner_upper - np.array([0, 0.03], np.float32), edge[::-1]])
    teeth = part.area(row, 0.006) * opening * np.clip((0.26 - np.abs(part.x)) / 0.12, 0, 1)
    part.mix(teeth * np.float32(0.55 + 0.4 * (0.35 + 0.65 * bared)), (214, 206, 196))
    between = np.abs((part.x / 0.052) % 1 - 0.5) < 0.05
    part.darken(teeth * between * np.float32(0.3), 0.7)
    shadow = part.stroke(lips.inner_upper + np.array([0, 0.008], np.float32), 0.025, 0.012)
    part.darken(shadow * opening, 0.45)


def _paint_lower_teeth(part: Canvas, portrait: Portrait, lips: _Lips, opening: Field) -> None:
    bared = min(portrait.au(16) + 0.6 * portrait.au(20), 1)
    if bared <= 0.1:
        return
    edge = lips.inner_lower - np.array([0, 0.05], np.float32)
    row = np.vstack([lips.inner_lower + np.array([0, 0.03], np.float32), edge[::-1]])
    teeth = part.area(row, 0.006) * opening * np.clip((0.18 - np.abs(part.x)) / 0.08, 0, 1)
    part.mix(teeth * np.float32(0.8 * bared), (200, 190, 180))
