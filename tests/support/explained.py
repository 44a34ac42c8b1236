"""Explanations of faces that no network has seen, for the tests of what is written about them."""

import numpy as np

from au_guidance.expressions import Expression
from eval.explain.explanation import Explanation
from tests.support.faces import mean_face
from train.card.schema import Heatmap


def explanation(label="happiness", probability=0.9, *, box=(10, 20, 66, 76), shade=120, **changes):
    """Return the explanation of a face of one `shade`, whose class map lies on the mouth."""
    rest = (1 - probability) / 6
    cam = np.zeros((224, 224), np.float32)
    cam[170:200, 80:145] = 1
    values = {
        "box": np.array(box, float),
        "matrix": np.array([[2.0, 0, -20], [0, 2, -40]]),
        "face": np.full((224, 224, 3), shade, np.uint8),
        "status": "ok",
        "step": "short",
        "score": 0.91,
        "quality": 0.8,
        "probabilities": {one.label: probability if one.label == label else rest for one in Expression},
        "calibrated": True,
        "cams": {one.label: cam for one in Expression},
        "attention": {5: cam / 2},
        "layer": 5,
        "points": mean_face(),
        "heatmap": Heatmap(),
    }
    return Explanation(**values | changes)
