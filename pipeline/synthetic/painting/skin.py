"""The surface of the face: skin colour with freckles and stubble, its height above a smooth base, the nostrils."""

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas, Field, spline
from pipeline.synthetic.face_shape import Half, Portrait
from pipeline.synthetic.sampling import Identity


def paint_skin(canvas: Canvas, identity: Identity, rng: np.random.Generator) -> None:
    """Cover the whole canvas with skin and its pores."""
    rows, columns = canvas.height.shape
    knots = rng.normal(size=(10, 8)).astype(np.float32)
    patches = cv2.resize(knots, (columns, rows), interpolation=cv2.INTER_CUBIC)
    pores = cv2.GaussianBlur(rng.normal(size=(rows, columns)).astype(np.float32), (0, 0), 1.1)
    tone = 1 + np.float32(0.02) * patches + np.float32(identity.freckles) * pores
    canvas.colour[:] = identity.skin * tone[..., None]
    canvas.height += np.float32(0.003) * pores
    if identity.stubble:
        _paint_stubble(canvas, identity, pores)


def paint_flush(canvas: Canvas, half: Half) -> None:
    """Redden a cheek and shade the eye socket above it."""
    canvas.darken_spot((0.48 * half.outwards, 0.42), 0.2, 0.15, factor=(1.03, 0.90, 0.91))
    below_middle = half.beside(half.socket, 0, 0.02)
    canvas.darken_spot(below_middle, 0.2, 0.10, factor=(0.88, 0.82, 0.82), strength=0.8)


def _paint_stubble(canvas: Canvas, identity: Identity, pores: Field) -> None:
    beard_edge = np.clip((np.abs(canvas.x) * 0.9 + (canvas.y - 0.62) * 0.6) / 0.35, 0, 1)
    below_nose = np.clip((canvas.y - 0.5) / 0.2, 0, 1)
    density = np.float32(identity.stubble) * beard_edge * below_nose * (1 + np.float32(0.6) * pores)
    canvas.mix(np.clip(density, 0, 0.85), identity.hair * 0.7 + identity.skin * 0.15)


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
