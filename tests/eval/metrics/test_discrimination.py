from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from au_guidance.expressions import Expression
from eval.metrics import discrimination
from eval.metrics.cosines import l2_normalise
from eval.metrics.discrimination import NOTHING, Gallery, best_match, class_cosines, own_minus_other, retrieval
from eval.records.predictions import ORDERED, read_predictions
from tests.support.constructed import Constructed
from train.card.schema import Card

MakeCard = Callable[..., Card]
HAPPINESS, SURPRISE, SADNESS, NEUTRAL = (Expression[name] for name in ("HAPPINESS", "SURPRISE", "SADNESS", "NEUTRAL"))
# Six pixels, one for each expression's heatmap.
SIX = torch.eye(6).reshape(1, 6, 2, 3)


def cosines_of(*maps: list[float]) -> np.ndarray:
    drawn = torch.tensor(maps).reshape(-1, 2, 3)
    return class_cosines(l2_normalise(drawn), l2_normalise(SIX.expand(len(maps), 6, 2, 3)))


def test_cosines_with_six_heatmaps_by_hand() -> None:
    assert cosines_of([3.0, 4, 0, 0, 0, 0])[0] == pytest.approx([0.6, 0.8, 0, 0, 0, 0])
    assert cosines_of([0.0] * 6)[0].tolist() == [0] * 6


def test_own_minus_other_by_hand() -> None:
    cosines = cosines_of([3.0, 4, 0, 0, 0, 0], [1.0] * 6)
    assert own_minus_other(cosines, np.array([HAPPINESS, SADNESS])) == pytest.approx([0.6 - 0.8 / 5, 0])
    assert own_minus_other(cosines, np.array([SURPRISE, HAPPINESS])) == pytest.approx([0.8 - 0.6 / 5, 0])


def test_best_match_and_retrieval_by_hand() -> None:
    matched = best_match(cosines_of([3.0, 4, 0, 0, 0, 0], [0, 0, 0, 0, 0, 9.0], [1.0] * 6, [0.0] * 6))
    assert matched.tolist() == [SURPRISE, SADNESS, HAPPINESS, NOTHING]
    assert retrieval(matched, np.array([HAPPINESS, SADNESS, HAPPINESS, HAPPINESS])).tolist() == [0, 1, 1, 0]
    said = retrieval(matched, np.array([SURPRISE, NEUTRAL, SADNESS, NEUTRAL]))
    assert said[[0, 2]].tolist() == [1, 0]
    assert np.isnan(said[[1, 3]]).all()


def test_confusion_leaves_out_what_matches_nothing() -> None:
    found = discrimination.confusion(np.array([1, 2, 2, NOTHING, 6]), np.array([1, 1, 2, 2, 3]))
    expected = np.zeros((6, 6), int)
    expected[0, 0] = expected[0, 1] = expected[1, 1] = expected[2, 5] = 1
    assert found.tolist() == expected.tolist()


def test_specificity_by_hand() -> None:
    assert discrimination.specificity(np.array([0.9, 0.5]), np.array([0.8, np.nan])).tolist()[0] == pytest.approx(0.1)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left.astype(float), right.astype(float)
    return (left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum())


def test_other_faces_are_those_of_the_same_expression_and_not_oneself(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    predictions = read_predictions(made.write(tmp_path / "p.h5", attention_5=made.heatmaps))
    gallery = Gallery(predictions)
    rows = np.flatnonzero(made.valid)
    found = gallery.mean_cosine(l2_normalise(torch.from_numpy(made.heatmaps[rows])), rows, made.expressions[rows])
    for row, value in zip(rows, found, strict=True):
        others = [other for other in np.flatnonzero(made.of_class(made.expressions[row])) if other != row]
        expected = np.mean([cosine(made.heatmaps[row], made.heatmaps[other]) for other in others])
        assert value == pytest.approx(expected, abs=1e-5)
        assert 0.5 < value < 1


def test_a_face_alone_in_its_class_has_no_others(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    fear = np.flatnonzero(made.of_class(Expression.FEAR))
    made.valid[fear[1:]] = False
    made.valid &= made.expressions != Expression.ANGER
    gallery = Gallery(read_predictions(made.write(tmp_path / "p.h5", attention_5=made.heatmaps)))
    maps = l2_normalise(torch.from_numpy(made.heatmaps[fear[:1]]))
    assert np.isnan(gallery.mean_cosine(maps, fear[:1], made.expressions[fear[:1]])).all()
    assert [len(gallery.rows[expression]) for expression in ORDERED].count(0) == 1


def test_gallery_is_a_seeded_sample(make_card: MakeCard, tmp_path: Path) -> None:
    made = Constructed(make_card())
    predictions = read_predictions(made.write(tmp_path / "p.h5", attention_5=made.heatmaps))
    chosen = [
        {expression: rows.tolist() for expression, rows in Gallery(predictions, others=2, seed=seed).rows.items()}
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    for expression, rows in chosen[0].items():
        assert len(rows) == 2
        assert (made.expressions[rows] == expression).all()
        assert made.valid[rows].all()
