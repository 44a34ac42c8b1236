"""Whether a network knows how often it is right: its confidence against its accuracy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
ROUNDING = 1e-9  # of a bin; a confidence on an edge belongs to the bin below it


def calibration(logits: NDArray[np.floating], expressions: NDArray[np.integer], bins: int = BINS) -> dict[str, Any]:
    """Compare the probabilities p = softmax of logits (n, 7) with the true classes (n,).

    The confidence of a face is its largest probability; B_m are the faces with confidence in ((m - 1)/M, m/M], M = 15.

    - ece, in [0, 1], lower is better: sum_m |B_m|/n |accuracy(B_m) - confidence(B_m)|, expected calibration error;
    - mce, in [0, 1], lower is better: the largest |accuracy(B_m) - confidence(B_m)|, maximum calibration error;
    - nll, from 0 on, lower is better: -(1/n) sum_i ln p_i(true class), negative log-likelihood;
    - brier, in [0, 2], lower is better: (1/n) sum_i sum_c (p_ic - [c is the true class])^2;
    - bins: low, high, images, and mean confidence and accuracy (None without images), for a reliability diagram.

    Sources: Guo et al., On calibration of modern neural networks, ICML 2017; Naeini et al., Obtaining well calibrated
    probabilities using Bayesian binning, AAAI 2015; Brier, Verification of forecasts expressed in terms of probability,
    1950.
    """
    logarithms = _log_softmax(logits.astype(np.float64))
    probabilities = np.exp(logarithms)
    confidence = probabilities.max(axis=1)
    right = logits.argmax(axis=1) == expressions
    true = np.eye(logits.shape[1])[expressions]
    place = np.clip(np.ceil(confidence * bins - ROUNDING).astype(int) - 1, 0, bins - 1)
    rows = [_bin(number, bins, confidence[place == number], right[place == number]) for number in range(bins)]
    gaps = [(row["images"], abs(row["accuracy"] - row["confidence"])) for row in rows if row["images"]]
    return {
        "ece": float(sum(images * gap for images, gap in gaps) / len(right)),
        "mce": float(max(gap for _, gap in gaps)),
        "nll": float(-(logarithms * true).sum(axis=1).mean()),
        "brier": float(((probabilities - true) ** 2).sum(axis=1).mean()),
        "bins": rows,
    }


def confidences(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the largest probability of each face (n,), in [1/7, 1]."""
    largest: NDArray[np.float64] = np.exp(_log_softmax(logits.astype(np.float64)).max(axis=1))
    return largest


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logarithms


def _bin(number: int, bins: int, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    filled = len(right) > 0
    return {
        "low": number / bins,
        "high": (number + 1) / bins,
        "images": len(right),
        "confidence": float(confidence.mean()) if filled else None,
        "accuracy": float(right.mean()) if filled else None,
    }
