"""Eyes, with white, iris, pupil, catch light, lash lines and the fold of the lid; eyebrows, with single hairs."""

import numpy as np

from pipeline.synthetic.canvas import Canvas, Field, spline
from pipeline.synthetic.face_shape import Half, Portrait

_EDGE = 60  # how steeply iris and pupil end
_HAIRS = 80  # of an eyebrow


def paint_eye(canvas: Canvas, portrait: Portrait, half: Half) -> None:
    """Paint one eye; the iris stays where it is at rest, so that AU 5 shows white above it."""
    upper, lower = spline(half.eye[:4]), spline(half.eye[[3, 4, 5, 0]])
    part = canvas.window(np.vstack([half.eye, half.resting_eye]), 0.14)
    opening = part.area(np.vstack([upper, lower[1:-1]]))
    part.mix(opening, np.array([118, 114, 111], np.float32) + np.minimum(portrait.identity.skin * 1.1, 255) * 0.32)
    _paint_iris(part, portrait, half, opening)
    lid_shadow = part.stroke(upper + np.array([0, 0.012], np.float32), 0.035, 0.018) * np.float32(0.45)
    part.darken(lid_shadow * opening, 0.45)
    _paint_catch_light(part, portrait, half, opening)
    part.darken(part.stroke(upper, 0.022, 0.006) * np.float32(0.9), 0.22)
    part.darken(part.stroke(lower, 0.012, 0.006) * np.float32(0.6), 0.5)
    _fold_lid(canvas, portrait, half, upper)


def _centre(portrait: Portrait, half: Half) -> Field:
    return np.asarray(half.resting_eye.mean(0) + np.array(portrait.gaze, np.float32))


def _paint_iris(part: Canvas, portrait: Portrait, half: Half, opening: Field) -> None:
    x, y = _centre(portrait, half)
    distance = np.hypot(part.x - x, part.y - y)
    part.mix(opening * np.clip((0.074 - distance) * _EDGE, 0, 1), portrait.identity.iris)
    ring = np.exp(-(((distance - 0.070) / 0.012) ** 2))
    part.darken(opening * ring, 0.45)
    part.mix(opening * np.clip((0.030 - distance) * _EDGE, 0, 1), (8, 6, 6))


def _paint_catch_light(part: Canvas, portrait: Portrait, half: Half, opening: Field) -> None:
    """Paint the reflection of a lamp; real gloss here would turn an eye white under light from the side."""
    x, y = _centre(portrait, half) - np.array([0.025, 0.022], np.float32)
    part.mix(opening * np.clip((0.013 - np.hypot(part.x - x, part.y - y)) * 90, 0, 1), (250, 250, 250))


def _fold_lid(canvas: Canvas, portrait: Portrait, half: Half, upper: Field) -> None:
    x = upper[:, 0]
    y = np.minimum(upper[:, 1], half.resting_eye[:, 1].mean() + 0.05) - 0.062 + 0.02 * portrait.au(5, half.side)
    fold = np.stack([x, y + 0.2 * (x - x.mean()) ** 2], 1)
    canvas.crease(fold[2:-2:4], 0.6, width=0.011, depth=0.02, shade=0.25)


def paint_brow(canvas: Canvas, portrait: Portrait, half: Half, rng: np.random.Generator) -> None:
    """Paint one eyebrow along its landmarks."""
    identity = portrait.identity
    line = spline(half.brow) + np.array([0, 0.018], np.float32)
    along = np.linspace(0, 1, len(line), dtype=np.float32)
    thickness = np.float32(identity.brow_thickness) * (0.35 + 0.68 * np.sin(np.pi * (0.12 + 0.62 * along)))
    part = canvas.window(line, 0.1)
    half_thickness = np.stack([np.zeros_like(along), thickness / 2], 1)
    band = part.area(np.vstack([line - half_thickness, (line + half_thickness)[::-1]]), 0.012)
    hairs = _hairs(part, line, thickness, half.outwards, rng)
    part.mix(np.clip(band * (0.62 + 0.5 * hairs), 0, 0.93), identity.hair * 0.55 + identity.skin * 0.06)
    part.height += band * np.float32(0.012)


def _hairs(part: Canvas, line: Field, thickness: Field, outwards: int, rng: np.random.Generator) -> Field:
    """Scatter hairs over the band; they point outwards, and up at its inner end."""
    at = rng.integers(len(line), size=_HAIRS)
    sideways = 0.01 * rng.normal(size=_HAIRS)
    across = rng.uniform(-0.5, 0.5, _HAIRS)
    length = rng.uniform(0.25, 0.6, (_HAIRS, 1))
    middles = line[at] + np.stack([sideways, across * thickness[at]], 1)
    outer_share = 1 - at / (len(line) - 1)
    direction = np.stack([np.full(_HAIRS, 0.045 * outwards), 0.045 * outer_share - 0.03], 1) * length
    return part.hairs(middles - direction, middles + direction)
