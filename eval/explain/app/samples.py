"""Drawn faces for those who have no picture at hand: one for each expression, and a group."""

import threading

import numpy as np

from au_guidance.expressions import Expression
from pipeline.storage import images
from pipeline.synthetic.generate import Shot, draw

SEED, SIZE = 1, 224
PERSONS = 4  # drawn in turn
GROUP = "group"
NAMES = (*(expression.label for expression in Expression), GROUP)
_DRAWN: dict[str, bytes] = {}
_LOCK = threading.Lock()


def sample(name: str) -> bytes:
    """Return the JPEG file of a drawn face, by a name of NAMES; raise KeyError for any other."""
    if name not in NAMES:
        raise KeyError(name)
    with _LOCK:
        if name not in _DRAWN:
            chosen = list(Expression)[:PERSONS] if name == GROUP else [Expression.parse(name)]
            faces = [draw(Shot(SEED, int(one) % PERSONS, "test", one, 0, SIZE))[3].image for one in chosen]
            _DRAWN[name] = images.encode(np.concatenate(faces, axis=1)).tobytes()
        return _DRAWN[name]
