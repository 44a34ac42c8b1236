"""Rare classes: how often an epoch shows them, and what they weigh in the loss of every method."""

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from tests.support.family import FAMILY
from tests.support.runs import assert_same_run, trainer_of
from train.card.checks import parse_card
from train.card.schema import Heatmap
from train.data.balance import class_weights, epoch_rows
from train.data.batches import TrainingBatches
from train.data.prepared import Prepared, part_rows
from train.engine.loop import train
from train.methods.base import Batch

ROWS = np.arange(100, 130)
CLASSES = np.repeat([0, 3, 6], [22, 6, 2])


def test_a_balanced_epoch_shows_every_class_and_its_faces_equally_often():
    shown = epoch_rows(ROWS, CLASSES, "balanced", np.random.default_rng(0))
    assert len(shown) == 30
    assert np.bincount(CLASSES[shown - 100]).tolist() == [10, 0, 0, 10, 0, 0, 10]
    times = np.bincount(shown - 100, minlength=30)
    assert set(times[:22]) == {0, 1}
    assert sorted(times[22:28]) == [1, 1, 2, 2, 2, 2]
    assert times[28:].tolist() == [5, 5]


@pytest.mark.parametrize("count", [29, 30, 31])
def test_balanced_counts_differ_by_one_at_most(count):
    rows = np.arange(count)
    shown = epoch_rows(rows, rows % 7 // 3, "balanced", np.random.default_rng(1))  # 3 : 3 : 1
    times = np.bincount(shown % 7 // 3)
    assert (times.sum(), len(times), np.ptp(times) <= 1) == (count, 3, True)


def test_a_natural_epoch_is_the_permutation_of_before():
    shown = epoch_rows(ROWS, CLASSES, "natural", np.random.default_rng(2))
    np.testing.assert_array_equal(shown, np.random.default_rng(2).permutation(ROWS))


def test_over_the_epochs_every_face_of_a_frequent_class_is_shown():
    epochs = [epoch_rows(ROWS, CLASSES, "balanced", np.random.default_rng([0, epoch])) for epoch in range(12)]
    assert set(np.concatenate(epochs)) == set(ROWS)


def test_class_weights_by_hand():
    weights = class_weights(np.eye(7)[CLASSES])
    np.testing.assert_allclose(weights, [30 / 66, 0, 0, 30 / 18, 0, 0, 30 / 6], rtol=1e-6)
    assert (weights[CLASSES]).mean() == pytest.approx(1)
    votes = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.9, 0.1, 0]])
    np.testing.assert_allclose(class_weights(votes), [3 / 4.8, 3 / 1.2, 0], rtol=1e-6)


@pytest.fixture
def unbalanced(prepared_folder):
    """The small dataset with twelve faces of class 4 renamed to 0, so that classes differ in size."""
    prepared = Prepared(prepared_folder, Heatmap())
    prepared.expressions = np.where(np.isin(prepared.expressions, (4, 5)), 0, prepared.expressions)
    return prepared


def test_batches_are_balanced_and_repeated_faces_are_augmented_anew(unbalanced, make_card):
    card = make_card(training__sampling="balanced", protocol="paper")
    rows = part_rows(unbalanced, card, "train")
    batches = TrainingBatches(unbalanced, card, rows, torch.device("cpu"))
    shown = np.concatenate([step.rows for step in batches.epoch(0)])
    assert np.ptp(np.bincount(unbalanced.expressions[shown])[[0, 1, 2, 3, 6]]) <= 1
    images = torch.cat([step.batch.images for step in batches.epoch(0)])
    twice = next(row for row in shown if (shown == row).sum() > 1)
    one, other = images[shown == twice][:2]
    assert not torch.equal(one, other)
    later = [step.rows.tolist() for step in batches.epoch(0, 3)]
    assert later == [step.rows.tolist() for step in batches.epoch(0)][3:]
    assert [step.rows.tolist() for step in batches.epoch(1)][3:] != later


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_class_weights_weigh_the_loss_of_every_method(name, make_card, tmp_path):
    """For faces of one class the weighted loss is the weight times the loss."""
    card = make_card(method=name, guidance__weight=0.0, **FAMILY[name])
    trainer = trainer_of(card, tmp_path)
    images, target = torch.rand(2, 3, 64, 64), torch.eye(7)[[3, 3]]
    batch = Batch(images, target, torch.zeros(2, 64, 64), torch.zeros(2, dtype=torch.bool))
    losses = []
    for weights in (None, torch.tensor([0.5, 1, 1, 3, 1, 1, 1])):
        trainer.learner.class_weights = weights
        torch.manual_seed(0)
        trainer.learner.descend = lambda loss: None
        trainer.learner.method.eval()
        losses.append(trainer.learner.step(batch, torch.Generator())[0].item())
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5)


def test_the_trainer_weighs_by_the_training_faces(make_card, tmp_path):
    trainer = trainer_of(make_card(training__class_weights=True), tmp_path)
    labels = trainer.prepared.expressions[trainer.train_rows]
    weights = len(labels) / (7 * np.bincount(labels))
    np.testing.assert_allclose(trainer.learner.class_weights, weights, rtol=1e-6)
    assert trainer_of(make_card(), tmp_path).learner.class_weights is None


def test_a_balanced_training_repeats_itself(make_card, tmp_path):
    card = make_card(training__sampling="balanced", training__epochs=1)
    for name in ("one", "two"):
        train(card, tmp_path / name)
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_new_keys_keep_the_digest_of_a_card_and_both_balances_are_refused(make_card):
    card = make_card()
    unsaid = {"sampling", "class_weights", "looks_per_epoch", "deterministic"}
    assert unsaid.isdisjoint(card.model_dump(mode="json")["training"])
    for key, value in {"sampling": "balanced", "class_weights": True, "looks_per_epoch": 2}.items():
        other = make_card(**{f"training__{key}": value})
        assert other.digest() != card.digest()
        assert other.model_dump()["training"][key] == value
    values = card.model_dump(mode="json")
    values["training"] |= {"sampling": "balanced", "class_weights": True}
    with pytest.raises(UserError, match="sampling: balanced and class_weights: true would count rare classes twice"):
        parse_card(str(values).replace("None", "null"), "card")
