"""The height of the face above its smooth base: nose, brow ridge, eye sockets, cheeks, mouth, chin."""

import numpy as np

from pipeline.synthetic.canvas import Canvas
from pipeline.synthetic.painting.portrait import Half, Portrait


def raise_midline(canvas: Canvas, portrait: Portrait) -> None:
    """Raise the nose, the barrel of the mouth and the chin; hollow the groove under the lower lip."""
    identity, points = portrait.identity, portrait.landmarks
    tip = points[30, 1] + 0.025
    for along in np.linspace(0, 1, 9):
        amount = identity.nose_height * (0.02 + 0.105 * along**1.4)
        canvas.raise_spot((0, -0.03 + tip * along), 0.05 + 0.025 * along, 0.06, amount)
    canvas.raise_spot((0, tip + 0.02), 0.085, 0.07, 0.10 * identity.nose_height)
    canvas.raise_spot((0, 0.82 + identity.mouth_offset), 0.30, 0.22, 0.06)
    chin_drop = points[8, 1] - portrait.rest[8, 1]
    canvas.raise_spot((0, 1.20 + identity.chin_length + chin_drop), 0.18, 0.11, 0.06)
    canvas.raise_spot((0, points[57, 1] + 0.08), 0.2, 0.045, -0.045)


def raise_half(canvas: Canvas, portrait: Portrait, half: Half) -> None:
    """Raise the wing of the nose, the eye in its socket, the brow ridge and the cheek of one side."""
    side, outwards, socket = half.side, half.outwards, half.socket
    wing = half.ala * np.array([0.86, 1], np.float32) + np.array([0, -0.04], np.float32)
    canvas.raise_spot(wing, 0.045, 0.05, 0.075)
    fold = [half.beside(wing, 0.03, -0.07), half.beside(wing, 0.055, 0), half.beside(wing, 0.03, 0.05)]
    canvas.crease(fold, 0.8, width=0.012, depth=0.03, shade=0.22)
    canvas.raise_spot(half.beside(socket, 0, -0.02), 0.17, 0.10, -0.10)
    canvas.raise_spot((0.14 * outwards, 0.03), 0.05, 0.10, -0.035)
    canvas.raise_spot(socket, 0.11, 0.075, 0.05)
    canvas.raise_spot(half.beside(half.brow[2], 0, 0.02), 0.22, 0.06, 0.045 + 0.02 * portrait.au(4, side))
    lift = 0.6 * portrait.au(6, side) + 0.6 * portrait.au(12, side) + 0.3 * portrait.au(9, side)
    cheek = 0.04 * portrait.identity.cheek + 0.07 * lift
    canvas.raise_spot((0.47 * outwards, 0.36 - 0.07 * lift), 0.18, 0.13, cheek)
