"""Skin colour: uneven tone, freckles, stubble, red cheeks, dark eye sockets."""

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas, Field
from pipeline.synthetic.painting.portrait import Half
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
