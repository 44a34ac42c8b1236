"""Eyebrows: a soft band with single hairs."""

import numpy as np

from pipeline.synthetic.canvas import Canvas, Field, spline
from pipeline.synthetic.painting.portrait import Half, Points, Portrait

_HAIRS = 80


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


def _hairs(part: Canvas, line: Points, thickness: Points, outwards: int, rng: np.random.Generator) -> Field:
    """Scatter hairs over the band; they point outwards, and up at its inner end."""
    at = rng.integers(len(line), size=_HAIRS)
    sideways = 0.01 * rng.normal(size=_HAIRS)
    across = rng.uniform(-0.5, 0.5, _HAIRS)
    length = rng.uniform(0.25, 0.6, (_HAIRS, 1))
    middles = line[at] + np.stack([sideways, across * thickness[at]], 1)
    outer_share = 1 - at / (len(line) - 1)
    direction = np.stack([np.full(_HAIRS, 0.045 * outwards), 0.045 * outer_share - 0.03], 1) * length
    return part.hairs(middles - direction, middles + direction)
