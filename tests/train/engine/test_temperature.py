"""Temperature scaling finds how over- or underconfident a network is."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from eval.metrics.calibration import calibration
from train.engine.temperature import fit_temperature


def answers(stretch, faces=4000):
    """Logits whose softmax is the truth, stretched; and classes drawn from that truth."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (faces, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    classes = np.array([rng.choice(7, p=row) for row in probabilities])
    return logits * stretch, classes


@pytest.mark.parametrize("stretch", [0.4, 1.0, 3.0])
def test_it_undoes_what_stretched_the_logits(stretch):
    logits, classes = answers(stretch)
    found = fit_temperature(logits, classes)
    assert found == pytest.approx(stretch, rel=0.06)

    def loss(temperature):
        return calibration(logits / temperature, classes)["nll"]

    assert found == pytest.approx(minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x, rel=1e-3)
    assert calibration(logits / found, classes)["ece"] < 0.02


def test_a_network_that_is_always_right_stays_within_bounds():
    assert fit_temperature(np.eye(7) * 5, np.arange(7)) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(np.eye(7) * 5, (np.arange(7) + 1) % 7) == pytest.approx(20, rel=1e-3)
