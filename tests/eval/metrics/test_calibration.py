import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from eval.metrics.calibration import calibration, confidences


def logits_of(confidence: list[float], said: list[int]) -> np.ndarray:
    """Logits whose softmax gives the class said this probability, and the others equal shares of the rest."""
    probabilities = np.array([[(1 - top) / 6] * 7 for top in confidence])
    probabilities[np.arange(len(said)), said] = confidence
    return np.log(probabilities)


def test_by_hand() -> None:
    # Bins are 1/15 wide: 0.95 and 0.97 share the last one (14/15 = 0.933 and on), 0.5 is in ((7/15, 8/15].
    found = calibration(logits_of([0.95, 0.97, 0.5, 0.5], [1, 2, 3, 4]), np.array([1, 0, 3, 4]))
    assert found["ece"] == pytest.approx(0.5 * abs(0.5 - 0.96) + 0.5 * abs(1 - 0.5))
    assert found["mce"] == pytest.approx(0.5)
    assert found["nll"] == pytest.approx(-np.log([0.95, 0.03 / 6, 0.5, 0.5]).mean())
    sure = 0.05**2 + 6 * (0.05 / 6) ** 2
    wrong = 0.97**2 + (1 - 0.03 / 6) ** 2 + 5 * (0.03 / 6) ** 2
    half = 0.5**2 + 6 * (0.5 / 6) ** 2
    assert found["brier"] == pytest.approx((sure + wrong + 2 * half) / 4)
    assert [row["images"] for row in found["bins"]] == [0] * 7 + [2] + [0] * 6 + [2]
    assert found["bins"][14] == {
        "low": 14 / 15, "high": 1.0, "images": 2, "confidence": pytest.approx(0.96), "accuracy": 0.5
    }  # fmt: skip
    assert found["bins"][0]["confidence"] is found["bins"][0]["accuracy"] is None


def test_a_confidence_on_an_edge_belongs_below_it() -> None:
    found = calibration(np.zeros((2, 7)), np.array([0, 1]), bins=7)  # 1/7 = 0.142857, the edge of the first bin
    assert [row["images"] for row in found["bins"]] == [2, 0, 0, 0, 0, 0, 0]
    certain = calibration(1000 * np.eye(7), np.arange(7))
    assert certain["bins"][14]["images"] == 7
    assert (certain["ece"], certain["mce"], certain["nll"], certain["brier"]) == (0, 0, 0, 0)


def test_calibrated_network_has_a_small_error() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (40_000, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = (probabilities.cumsum(1) > generator.random((40_000, 1))).argmax(1)
    honest, boastful = calibration(logits, true), calibration(3 * logits, true)
    assert honest["ece"] < 0.01
    assert boastful["ece"] > 0.1
    assert honest["nll"] < boastful["nll"]
    assert honest["brier"] < boastful["brier"]


def test_sklearn_and_torch_agree() -> None:
    generator = np.random.default_rng(1)
    logits, true = generator.normal(0, 3, (500, 7)).astype(np.float32), generator.integers(7, size=500)
    probabilities = torch.softmax(torch.tensor(logits, dtype=torch.float64), 1).numpy()
    found = calibration(logits, true)
    assert found["nll"] == pytest.approx(log_loss(true, probabilities, labels=range(7)))
    assert found["brier"] == pytest.approx(7 * np.mean((probabilities - np.eye(7)[true]) ** 2))
    assert confidences(logits) == pytest.approx(probabilities.max(1))
    # The definition, over the faces one by one.
    right, top = probabilities.argmax(1) == true, probabilities.max(1)
    parts = [(top > m / 15) & (top <= (m + 1) / 15) for m in range(15)]
    gaps = [abs(right[part].mean() - top[part].mean()) for part in parts if part.any()]
    sizes = [part.mean() for part in parts if part.any()]
    assert found["ece"] == pytest.approx(np.dot(gaps, sizes))
    assert found["mce"] == pytest.approx(max(gaps))


def test_large_logits_are_no_problem() -> None:
    found = calibration(np.array([[1e4, 0, 0, 0, 0, 0, 0]], np.float32), np.array([1]))
    assert found["nll"] == pytest.approx(1e4)
