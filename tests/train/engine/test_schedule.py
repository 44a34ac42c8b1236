"""Learning rates over time, the running mean of the weights, and backbones that start from a trained checkpoint."""

import pytest
import torch

from tests.support.runs import assert_same_run, tensors
from train.card.schema import Training
from train.engine.learner import EMA, rate_factor
from train.engine.loop import Trainer, train
from train.methods.base import build_method


def test_a_cosine_warms_up_and_falls_to_nothing():
    training = Training(epochs=20, batch_size=8, learning_rate=0.1, schedule="cosine")
    found = [rate_factor(training, epoch) for epoch in (0, 1.5, 3, 11.5, 20)]
    assert found == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_the_running_mean_of_the_weights_by_hand(make_card):
    method = build_method(make_card(), initialise=False)
    name, weight = next(iter(method.named_parameters()))
    average, expected = EMA(method, 0.15), weight.detach().clone()
    for decay in (0.1, 0.15, 0.15):  # (1 + 0) / (10 + 0), then 2 / 11 and 3 / 12 are above 0.15
        with torch.no_grad():
            weight += 1
        average.update(method)
        expected = decay * expected + (1 - decay) * weight.detach()
        torch.testing.assert_close(average.method.get_parameter(name).data, expected)
    assert not average.method.get_parameter(name).requires_grad


def test_a_killed_run_with_a_running_mean_ends_as_an_unbroken_one(make_card, tmp_path, monkeypatch):
    card = make_card(training__averaging=0.9, training__schedule="cosine", training__epochs=3)
    train(card, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "validate", _dies_in_the_second_epoch(Trainer.validate))
        with pytest.raises(KeyboardInterrupt):
            train(card, tmp_path / "killed")
    train(card, tmp_path / "killed")
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def _dies_in_the_second_epoch(validate):
    calls = []

    def wrapped(trainer):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(trainer)

    return wrapped


def test_a_backbone_starts_from_a_checkpoint(make_card, tmp_path):
    train(make_card(training__epochs=1), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    started = build_method(make_card(model__init=str(path))).backbone.state_dict()
    stored = {name.removeprefix("backbone."): value for name, value in tensors(tmp_path).items() if "backbone" in name}
    assert started.keys() == stored.keys()
    assert all(torch.equal(started[name], stored[name]) for name in stored)
