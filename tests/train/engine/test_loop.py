"""The training loop: it learns, repeats itself bit for bit, and says what is wrong."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from au_guidance.loss import attention, cosine, resize
from pipeline.errors import UserError
from tests.support.paths import ROOT
from tests.support.runs import ENVIRONMENT, assert_same_run, history, trainer_of
from train.checkpoints import checkpoint
from train.data.prepared import Prepared
from train.data.transforms import evaluation_input
from train.engine.distributed import Processes
from train.engine.learner import Learner, set_rates
from train.engine.loop import train
from train.methods.base import Batch


def test_it_learns_and_guidance_turns_attention_to_the_heatmaps(make_card, tmp_path):
    scores = {}
    for weight in (0.0, 5.0):
        out = tmp_path / str(weight)
        train(make_card(training__epochs=8, guidance__weight=weight), out)
        loaded = checkpoint.load(out / "checkpoint.safetensors")
        prepared = Prepared(loaded.card.data.folder, loaded.card.heatmap)
        rows = [row for row in prepared.rows("test") if prepared.heatmap(row) is not None]
        images = torch.stack([evaluation_input(prepared.image(row), 64) for row in rows])
        with torch.no_grad():
            maps = resize(attention(loaded.method(images).features[5]), 224)
        drawn = torch.stack([torch.from_numpy(prepared.heatmap(row)) for row in rows])
        scores[weight] = cosine(maps, drawn).mean().item()
        rows = history(out)
        assert float(rows[-1]["train_accuracy"]) >= 0.75
        assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
    print(scores)
    assert scores[5.0] > 0.65
    assert scores[5.0] > scores[0.0] + 0.1


def test_two_runs_are_equal_bit_for_bit(four_epochs, tmp_path):
    card, out = four_epochs
    train(card, tmp_path)
    assert_same_run(out, tmp_path)
    assert not (tmp_path / "state").exists()


def test_seeds_differ(make_card, four_epochs, tmp_path):
    train(make_card(seed=1, training__epochs=1, training__augmentation="published"), tmp_path)
    assert history(tmp_path)[0]["loss"] != history(four_epochs[1])[0]["loss"]


def test_learning_rates_follow_the_schedule(make_card, tmp_path):
    card = make_card(
        training__learning_rate=0.01, training__head_lr_ratio=10, training__step_size=3, training__gamma=0.1
    )
    trainer = trainer_of(card, tmp_path)
    body, head = trainer.learner.optimiser.param_groups
    for epoch, rate in ((0, 1e-2), (2, 1e-2), (3, 1e-3), (9, 1e-5), (30, 1e-7)):
        set_rates(trainer.learner.optimiser, card.training, epoch)
        assert body["lr"] == pytest.approx(rate)
        assert head["lr"] == pytest.approx(max(10 * 0.01 * 0.1 ** (epoch // 3), 1e-7))
    assert len(body["params"]) + len(head["params"]) == len(list(trainer.learner.method.parameters()))
    assert {id(p) for p in head["params"]} == {id(p) for p in trainer.learner.method.head_parameters()}
    assert body["momentum"] == 0.9
    assert body["nesterov"]
    assert body["weight_decay"] == 5e-4


def test_the_first_of_equally_good_epochs_is_kept(four_epochs):
    _, out = four_epochs
    accuracies = [float(row["validation_accuracy"]) for row in history(out)]
    scores = checkpoint.load(out / "checkpoint.safetensors").scores
    assert scores["best_epoch"] == int(np.argmax(accuracies)) + 1
    assert scores["validation_accuracy"] == max(accuracies)


def test_the_last_epoch_is_kept_too(four_epochs):
    _, out = four_epochs
    last = checkpoint.load(out / "last.safetensors").scores
    assert last["epoch"] == last["epochs"] == 4
    assert last["validation_accuracy"] == float(history(out)[-1]["validation_accuracy"])


def test_history_adds_up(four_epochs):
    for row in history(four_epochs[1]):
        parts = float(row["classification_loss"]) + 5 * float(row["au_loss"])
        assert float(row["loss"]) == pytest.approx(parts)


def test_a_loss_that_is_not_finite_names_its_images_and_keeps_the_last_good_state(make_card, tmp_path):
    card = make_card(training__learning_rate=1e12, training__schedule="cosine", training__epochs=1000)
    with pytest.raises(UserError, match=r"not finite.*learning_rate.*train_0\d\d, train_0\d\d"):
        train(card, tmp_path, save_minutes=0)
    kept = torch.load(tmp_path / "state" / "last.pt", weights_only=True)
    assert kept["step"] >= 1  # the first one: its rate is the lowest, at the foot of the warm-up
    assert all(torch.isfinite(tensor).all() for tensor in kept["method"].values())


def test_gradients_are_clipped(make_card, tmp_path):
    trainer = trainer_of(make_card(training__clip_norm=0.5), tmp_path)
    loss = 1e3 * sum(parameter.square().sum() for parameter in trainer.learner.method.parameters())
    trainer.learner.descend(loss)
    norm = torch.stack([parameter.grad.norm() for parameter in trainer.learner.method.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_stays_near_full_precision(amp, make_card, tmp_path, monkeypatch):
    """One step on two small faces: fp16 is made for GPUs and slow here, and some processors emulate both."""
    monkeypatch.setattr("train.hardware._computes", lambda amp: True)
    images, classes = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2])
    heatmaps = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(1))
    trainers = {name: trainer_of(make_card(training__amp=name), tmp_path / name) for name in (amp, "off")}
    target = torch.nn.functional.one_hot(classes, 7).float()
    batch = Batch(images, target, heatmaps, torch.tensor([True, True]))
    before = trainers[amp].learner.method.fc.weight.detach().clone()
    values = {name: trainer.learner.step(batch, torch.Generator()) for name, trainer in trainers.items()}
    assert not torch.equal(values[amp], values["off"])
    torch.testing.assert_close(values[amp], values["off"], rtol=0.1, atol=0.02)
    for _ in range(6):  # fp16 halves its loss scale, and skips the step, until no gradient overflows
        trainers[amp].learner.step(batch, torch.Generator())
    assert not torch.equal(trainers[amp].learner.method.fc.weight, before)
    assert all(torch.isfinite(parameter).all() for parameter in trainers[amp].learner.method.parameters())


@pytest.mark.parametrize(("amp", "fused"), [("off", True), ("bf16", True), ("fp16", False)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fp16_takes_no_fused_step(amp, fused, device, make_card, monkeypatch):
    monkeypatch.setattr("train.hardware._computes", lambda amp: True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)  # there may be no GPU
    learner = Learner(make_card(training__amp=amp), torch.device(device), Processes(), None)
    assert learner.optimiser.defaults["fused"] is fused
    assert learner.scaler.is_enabled() is (amp == "fp16" and (device == "cpu" or torch.cuda.is_available()))


def test_validation_is_in_single_precision(make_card, tmp_path, monkeypatch):
    """The epoch is selected by what the scores say, which are in single precision."""
    monkeypatch.setattr("train.hardware._computes", lambda amp: True)
    trainer = trainer_of(make_card(training__amp="bf16"), tmp_path)
    computed = []
    trainer.learner.method.fc.register_forward_hook(lambda module, inputs, output: computed.append(output.dtype))
    trainer.validate()
    assert set(computed) == {torch.float32}


def test_protocol_paper_selects_on_the_test_set(make_card, tmp_path, capsys):
    train(make_card(protocol="paper", training__epochs=1), tmp_path)
    assert "41 faces train, 21 validate (protocol paper), 1 of 63 are unreadable" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "checkpoint.safetensors").scores["protocol"] == "paper"


def test_timm_backbones_train_with_a_warning_of_coarse_maps(make_card, tmp_path, capsys):
    train(make_card(model__backbone="timm/resnet10t", training__epochs=1), tmp_path)
    assert capsys.readouterr().out.count("warning: layer 5 of timm/resnet10t is 2x2 at 64 px") == 1
    loaded = checkpoint.load(tmp_path / "checkpoint.safetensors")
    with torch.no_grad():
        assert list(loaded.method(torch.zeros(1, 3, 64, 64)).features) == [1, 2, 3, 4, 5]


def test_tensorboard_is_asked_for_in_one_line(make_card, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"training\.tensorboard: the package tensorboard is not installed"):
        train(make_card(training__tensorboard=True), tmp_path)


def test_wrong_input_is_one_line(tmp_path, make_card):
    card = make_card(data={"folder": str(tmp_path / "nowhere")}).model_dump(mode="json")
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(card))
    command = [sys.executable, "-m", "train", str(run_yaml), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: \S+/nowhere/faces holds no shards; .*\n", done.stderr)
