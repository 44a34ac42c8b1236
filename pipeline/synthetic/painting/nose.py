"""Nostrils, the shadow under the nose, and the groove from nose to lip."""

import numpy as np

from pipeline.synthetic.canvas import Canvas, spline
from pipeline.synthetic.painting.portrait import Portrait


def paint_nose(canvas: Canvas, portrait: Portrait) -> None:
    """Paint the nose seen from the front; its height is the relief's."""
    points = portrait.landmarks
    part = canvas.window(points[31:36], 0.08)
    angle = np.linspace(0, 2 * np.pi, 16)
    for outwards, landmark in ((-1, 32), (1, 34)):
        centre = points[landmark] * np.array([0.95, 1], np.float32) + (0, -0.012)
        down = 0.016 * np.sin(angle) + 0.008 * np.cos(angle) * outwards
        nostril = centre + np.stack([0.036 * np.cos(angle), down], 1)
        part.darken(part.area(nostril, 0.008) * np.float32(0.95), 0.25)
    under = np.array([(0.02, 0.015), (0, 0.01), (0, 0.008), (0, 0.01), (-0.02, 0.015)], np.float32)
    part.darken(part.stroke(spline(points[31:36] + under), 0.022, 0.012) * np.float32(0.6), 0.6)
    canvas.raise_spot((0, (points[33, 1] + points[51, 1]) / 2), 0.025, 0.06, -0.015)
