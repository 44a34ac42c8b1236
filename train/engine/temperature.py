"""Temperature scaling: one number that makes a network's confidence match its accuracy."""

import math

import numpy as np
from numpy.typing import ArrayLike

STEPS = 60  # of a golden-section search: to 1e-12 of the range


def fit_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """Return the T in [0.05, 20] that minimises the mean of -ln softmax(logits / T)[class] over faces (n, k), (n,).

    The loss has one minimum in ln T. It is fitted on the faces that selected the epoch, so that under the protocol
    `heldout` no test face has a part in it. Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    values, truth = np.asarray(logits, np.float64), np.asarray(classes)

    def loss(logarithm: float) -> float:
        scaled = values / math.exp(logarithm)
        scaled -= scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth]).mean())

    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(0.05), math.log(20.0)
    for _ in range(STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return math.exp((low + high) / 2)
