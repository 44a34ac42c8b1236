"""A blurred room behind the face."""

import cv2
import numpy as np

from pipeline.synthetic.canvas import Field


def paint_background(rng: np.random.Generator, size: int) -> Field:
    """Return a colour gradient with some blurred boxes and discs: (size, size, 3)."""
    grey = rng.uniform(25, 225, 2)
    first = grey[0] + rng.normal(size=3) * 22
    second = grey[1] + rng.normal(size=3) * 22
    ramp = np.linspace(0, 1, size)
    slope = ramp[:, None] * rng.normal() + ramp * rng.normal()
    slope = (slope - slope.min()) / (np.ptp(slope) + 1e-6)
    image = (first + (second - first) * slope[..., None]).astype(np.float32)
    for _ in range(rng.integers(0, 7)):
        _paint_thing(image, rng)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(3, 14) * size / 224)
    patches = rng.normal(size=(24, 24, 3)).astype(np.float32) * 4
    patched: Field = image + cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC)
    return patched


def _paint_thing(image: Field, rng: np.random.Generator) -> None:
    size = len(image)
    colour = tuple((rng.uniform(15, 235) + rng.normal(size=3) * 25).tolist())
    x, y, width, height = (rng.uniform(-0.2, 1, 4) * size).astype(int).tolist()
    if rng.random() < 0.5:
        cv2.rectangle(image, (x, y), (x + abs(width), y + abs(height)), colour, -1)
    else:
        cv2.circle(image, (x, y), int(abs(width) * 0.4) + 3, colour, -1)
