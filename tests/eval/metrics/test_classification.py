import numpy as np
import pytest

from eval.metrics.classification import classification_scores


def logits_of(predicted: list[int]) -> np.ndarray:
    return np.eye(7)[predicted]


def test_classification_by_hand() -> None:
    # True: 3 of class 0, 1 of class 1, none of the others; one of class 0 is called 2.
    result = classification_scores(logits_of([0, 0, 2, 1]), np.array([0, 0, 0, 1]))
    assert result.accuracy == 0.75
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert result.macro_f1 == pytest.approx((2 * 2 / (3 + 2) + 1) / 2)
    assert result.recall[:2] == pytest.approx([2 / 3, 1])
    assert np.isnan(result.recall[2:]).all()
    assert result.confusion[0].tolist() == [2, 0, 1, 0, 0, 0, 0]
    assert result.confusion.sum() == 4


def test_class_that_is_predicted_only_lowers_f1_of_the_class_it_took_from() -> None:
    result = classification_scores(logits_of([1, 1]), np.array([0, 0]))
    assert (result.accuracy, result.balanced_accuracy, result.macro_f1) == (0, 0, 0)
