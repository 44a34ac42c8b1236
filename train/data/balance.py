"""How rare classes count in a training: the order of an epoch, and the weights of the classes in the loss."""

import numpy as np
from numpy.typing import NDArray

from train.data.prepared import Rows


def epoch_rows(rows: Rows, expressions: NDArray[np.integer], sampling: str, rng: np.random.Generator) -> Rows:
    """Return the rows of one epoch in a random order, as many as are given.

    natural: each once. balanced: each class equally often, up to one, and within a class each face equally often, up to
    one; faces of a frequent class then wait for another epoch. `expressions` holds the class of each row (n,).
    """
    if sampling == "natural":
        return rng.permutation(rows)
    classes = rng.permutation(np.unique(expressions))  # which classes get one more is drawn as well
    shares = np.diff(np.linspace(0, len(rows), len(classes) + 1).astype(np.int64))
    parts = [_repeated(rows[expressions == one], share, rng) for one, share in zip(classes, shares, strict=True)]
    return rng.permutation(np.concatenate(parts))


def class_weights(targets: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a weight per class (k,) from the targets (n, k) of the training faces: n / (classes present * its sum).

    Each class then has the same sum of weights, also when targets are shares of votes, and a face weighs 1 on average.
    A class that no face has weighs 0. Source: King and Zeng, Logistic regression in rare events data, 2001.
    """
    total = targets.sum(0, dtype=np.float64)
    present = total > 0
    weights = len(targets) / (present.sum() * np.where(present, total, 1))
    return np.where(present, weights, 0).astype(np.float32)


def _repeated(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    whole, rest = divmod(count, len(rows))
    return np.concatenate([*whole * [rows], rng.permutation(rows)[:rest]])
