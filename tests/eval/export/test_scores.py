"""Intervals of scores in a model card."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from eval.export.scores import macro_f1_interval


def test_macro_f1_interval_is_that_of_resampled_faces():
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(6), [40, 20, 30, 10, 25, 15])  # no face of the seventh class
    said = np.where(rng.random(140) < 0.6, truth, rng.integers(0, 7, 140))
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (truth, said), 1)
    found = macro_f1_interval(confusion)
    labels = np.arange(6)
    assert found.value == pytest.approx(f1_score(truth, said, labels=labels, average="macro"))
    drawn = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(np.flatnonzero(truth == label), (truth == label).sum()) for label in labels])
        drawn.append(f1_score(truth[rows], said[rows], labels=labels, average="macro"))
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)
