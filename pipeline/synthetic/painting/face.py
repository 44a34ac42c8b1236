"""The painters in their order."""

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas
from pipeline.synthetic.face_shape import Portrait
from pipeline.synthetic.painting.eyes import paint_brow, paint_eye
from pipeline.synthetic.painting.mouth import paint_mouth
from pipeline.synthetic.painting.skin import paint_flush, paint_nose, paint_skin, raise_half, raise_midline
from pipeline.synthetic.painting.wrinkles import wrinkle_chin, wrinkle_forehead, wrinkle_half


def paint_face(portrait: Portrait) -> Canvas:
    """Paint a face, always the same for the same portrait: textures come from the identity's seed."""
    canvas = Canvas.blank()
    rng = np.random.default_rng(portrait.identity.seed)
    paint_skin(canvas, portrait.identity, rng)
    raise_midline(canvas, portrait)
    for half in portrait.halves():
        raise_half(canvas, portrait, half)
        paint_flush(canvas, half)
        wrinkle_half(canvas, portrait, half)
    wrinkle_forehead(canvas, portrait, rng)
    wrinkle_chin(canvas, portrait, rng)
    paint_nose(canvas, portrait)
    for half in portrait.halves():
        paint_eye(canvas, portrait, half)
        paint_brow(canvas, portrait, half, rng)
    paint_mouth(canvas, portrait)
    _darken_hollows(canvas)
    return canvas


def _darken_hollows(canvas: Canvas) -> None:
    """Approximate the light that hollows do not get, from the height above the surroundings."""
    above = canvas.height - cv2.GaussianBlur(canvas.height, (0, 0), 8)
    canvas.colour *= np.clip(1 + np.float32(1.6) * above, 0.6, 1.12)[..., None]
