"""Several validations per epoch, and trainings that only use deterministic algorithms."""

import os

import pytest
import torch

from tests.support.family import FAMILY
from tests.support.runs import assert_same_run, history, trainer_of
from train.checkpoints import checkpoint
from train.engine.loop import Trainer, train
from train.hardware import set_deterministic
from train.methods.base import Batch


def test_a_look_within_an_epoch_may_select(make_card, tmp_path, monkeypatch):
    answers, asked = iter([0.1, 0.9, 0.2, 0.3, 0.9, 0.4]), []

    def validate(trainer):
        trainer.learner.result.eval()
        asked.append((len(trainer.history), trainer.step))
        return next(answers)

    monkeypatch.setattr(Trainer, "validate", validate)
    train(make_card(training__looks_per_epoch=3, protocol="paper"), tmp_path)  # 41 faces: 6 steps
    assert asked == [(0, 2), (0, 4), (0, 6), (1, 2), (1, 4), (1, 6)]
    assert [row["validation_accuracy"] for row in history(tmp_path)] == ["0.2", "0.4"]
    best, last = (checkpoint.load(tmp_path / f"{name}.safetensors").scores for name in ("checkpoint", "last"))
    assert (best["validation_accuracy"], best["epoch"], best["best_epoch"]) == (0.9, 1, 1)
    assert (last["validation_accuracy"], last["epoch"]) == (0.4, 2)


def test_looks_change_no_weight(four_epochs, tmp_path):
    card, out = four_epochs
    more = card.model_copy(update={"training": card.training.model_copy(update={"looks_per_epoch": 2})})
    train(more, tmp_path)
    assert [row["loss"] for row in history(tmp_path)] == [row["loss"] for row in history(out)]
    accuracies = [float(row["validation_accuracy"]) for row in history(tmp_path)]
    assert checkpoint.load(tmp_path / "checkpoint.safetensors").scores["validation_accuracy"] >= max(accuracies)


@pytest.mark.parametrize("validation", [0, 1, 3])
def test_a_training_that_is_stopped_in_a_look_ends_as_one_that_was_not(make_card, tmp_path, validation, monkeypatch):
    card = make_card(training__looks_per_epoch=2)
    train(card, tmp_path / "whole")
    real, count = Trainer.validate, iter(range(100))

    def stopped(trainer):
        trainer.stop.asked = next(count) == validation
        return real(trainer)

    monkeypatch.setattr(Trainer, "validate", stopped)
    with pytest.raises(SystemExit):
        train(card, tmp_path / "stopped")
    train(card, tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    set_deterministic(False)


@pytest.mark.usefixtures("deterministic")
def test_deterministic_asks_torch_for_it_and_the_default_does_not(make_card, tmp_path):
    trainer_of(make_card(training__deterministic=True), tmp_path)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    trainer_of(make_card(), tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("name", sorted(FAMILY))
def test_every_method_trains_deterministically(name, make_card, tmp_path):
    card = make_card(method=name, training__deterministic=True, **FAMILY[name])
    images, target = torch.rand(2, 3, 64, 64), torch.eye(7)[[3, 1]]
    batch = Batch(images, target, torch.rand(2, 64, 64), torch.ones(2, dtype=torch.bool))
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(trainer_of(card, tmp_path).learner.step(batch, torch.Generator().manual_seed(0)))
    assert torch.equal(*losses)
