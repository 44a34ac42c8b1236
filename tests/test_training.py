"""The training loop: it learns, repeats itself bit for bit, survives being killed, and says what is wrong."""

import csv
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.errors import UserError
from train import checkpoint, device, state
from train.data import Prepared
from train.loop import Trainer, train
from train.losses import attention, cosine, resize
from train.method import Batch
from train.optimiser import set_rates
from train.transforms import evaluation

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def history(folder):
    """Rows of history.csv without the wall time."""
    with (folder / "history.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def tensors(folder):
    return load_file(folder / "checkpoint.safetensors")


def assert_same_run(one, other):
    assert history(one) == history(other)
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def trainer_of(card, folder):
    folder.mkdir(exist_ok=True)
    return Trainer(card, Prepared(card.data.folder, card.heatmap), torch.device("cpu"), folder)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Room for the run that the tests compare with, made by the first that asks for it."""
    return tmp_path_factory.mktemp("unbroken")


@pytest.fixture
def four_epochs(make_card, unbroken):
    card = make_card(training__epochs=4, training__augmentation="published")
    if not (unbroken / "checkpoint.safetensors").exists():
        train(card, unbroken)
    return card, unbroken


def test_it_learns_and_guidance_turns_attention_to_the_heatmaps(make_card, tmp_path):
    scores = {}
    for weight in (0.0, 5.0):
        out = tmp_path / str(weight)
        train(make_card(training__epochs=8, guidance__weight=weight), out)
        loaded = checkpoint.load(out / "checkpoint.safetensors")
        prepared = Prepared(loaded.card.data.folder, loaded.card.heatmap)
        rows = [row for row in prepared.rows("test") if prepared.heatmap(row) is not None]
        images = torch.stack([evaluation(prepared.image(row), 64) for row in rows])
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


def test_a_killed_run_continues_and_ends_like_an_unbroken_one(four_epochs, tmp_path):
    card, out = four_epochs
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    command = [sys.executable, "-m", "train", str(run_yaml), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    written = tmp_path / "killed" / "state" / "history.csv"
    deadline = time.monotonic() + 60
    while not written.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(history(written.parent)) < 4
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert re.search(r"continuing after epoch [123]\n", done.stdout)
    assert_same_run(out, tmp_path / "killed")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "checkpoint.safetensors",
        "history.csv",
        "last.safetensors",
    ]


class AfterSteps(state.Stop):
    """Asks for the end once a training has looked this often whether somebody did."""

    def __init__(self, steps):
        self.left = steps
        super().__init__()

    @property
    def asked(self):
        self.left -= 1
        return self.left < 0

    @asked.setter
    def asked(self, value):
        pass


def test_a_run_that_is_stopped_at_any_step_ends_like_an_unbroken_one(four_epochs, tmp_path):
    """One after another, in the middle of epochs and during validation; dropout and CutMix would differ at once."""
    card, out = four_epochs
    for steps in (2, 0, 3, 1, 4):
        with pytest.raises(SystemExit) as end:
            train(card, tmp_path, stop=AfterSteps(steps))
        assert end.value.code == state.AGAIN
    train(card, tmp_path)
    assert_same_run(out, tmp_path)


@pytest.mark.parametrize("method", ["cutmix", "adl"])
def test_methods_with_chances_of_their_own_continue_the_same_way(method, make_card, tmp_path):
    card = make_card(method=method, training__epochs=1)
    train(card, tmp_path / "unbroken")
    with pytest.raises(SystemExit):
        train(card, tmp_path / "stopped", stop=AfterSteps(2))
    train(card, tmp_path / "stopped")
    assert_same_run(tmp_path / "unbroken", tmp_path / "stopped")


def test_the_state_within_an_epoch_is_saved_as_often_as_asked(make_card, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(state, "save", lambda folder, content: saved.append((len(content["history"]), content["step"])))
    train(make_card(training__epochs=2), tmp_path / "often", save_minutes=0)
    assert saved == [(0, step) for step in (1, 2, 3, 4)] + [(1, 0)] + [(1, step) for step in (1, 2, 3, 4)] + [(2, 0)]
    saved.clear()
    train(make_card(training__epochs=2), tmp_path / "seldom", save_minutes=10)
    assert saved == [(1, 0), (2, 0)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_a_training_that_can_continue(number, make_card, tmp_path):
    card = make_card(training__epochs=1000)
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    command = [sys.executable, "-m", "train", str(run_yaml), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while "epoch 1/" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.send_signal(number)
    printed, complaints = process.communicate(timeout=30)
    assert process.returncode == state.AGAIN == 75
    assert printed.endswith("asked to stop: the same command continues this training\n")
    assert complaints == ""
    with pytest.raises(SystemExit):
        train(card, tmp_path / "run", stop=AfterSteps(0))
    assert len(history(tmp_path / "run" / "state")) >= 1


@pytest.mark.parametrize(
    "damage", [lambda file: file[:-1000], lambda file: file[:999] + b"?" + file[1000:], lambda _: b""]
)
def test_of_a_damaged_state_the_one_before_is_used(damage, four_epochs, tmp_path, capsys):
    card, out = four_epochs
    with pytest.raises(SystemExit):
        train(card, tmp_path, stop=AfterSteps(13))
    last = tmp_path / "state" / "last.pt"
    last.write_bytes(damage(last.read_bytes()))
    train(card, tmp_path)
    assert re.search(r"state/last\.pt is damaged: set aside .*\ncontinuing after epoch \d\n", capsys.readouterr().out)
    assert_same_run(out, tmp_path)


def test_a_state_of_another_card_is_set_aside(make_card, four_epochs, tmp_path, capsys):
    card, out = four_epochs
    trainer_of(card.model_copy(update={"seed": 9}), tmp_path / "state")._save()
    train(card, tmp_path)
    assert "set aside, training starts anew" in capsys.readouterr().out
    assert_same_run(out, tmp_path)


def test_learning_rates_follow_the_schedule(make_card, tmp_path):
    card = make_card(
        training__learning_rate=0.01, training__head_lr_ratio=10, training__step_size=3, training__gamma=0.1
    )
    trainer = trainer_of(card, tmp_path)
    body, head = trainer.optimiser.param_groups
    for epoch, rate in ((0, 1e-2), (2, 1e-2), (3, 1e-3), (9, 1e-5), (30, 1e-7)):
        set_rates(trainer.optimiser, card.training, epoch)
        assert body["lr"] == pytest.approx(rate)
        assert head["lr"] == pytest.approx(max(10 * 0.01 * 0.1 ** (epoch // 3), 1e-7))
    assert len(body["params"]) + len(head["params"]) == len(list(trainer.method.parameters()))
    assert {id(p) for p in head["params"]} == {id(p) for p in trainer.method.head_parameters()}
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
    loss = 1e3 * sum(parameter.square().sum() for parameter in trainer.method.parameters())
    trainer._descend(loss)
    norm = torch.stack([parameter.grad.norm() for parameter in trainer.method.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_stays_near_full_precision(amp, make_card, tmp_path, monkeypatch):
    """One step on two small faces: fp16 is made for GPUs and slow here, and some processors emulate both."""
    monkeypatch.setattr("train.device._computes", lambda amp: True)
    images, classes = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2])
    heatmaps = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(1))
    trainers = {name: trainer_of(make_card(training__amp=name), tmp_path / name) for name in (amp, "off")}
    target = torch.nn.functional.one_hot(classes, 7).float()
    batch = Batch(images, target, heatmaps, torch.tensor([True, True]))
    before = trainers[amp].method.fc.weight.detach().clone()
    values = {name: trainer._step(batch, torch.Generator()) for name, trainer in trainers.items()}
    assert not torch.equal(values[amp], values["off"])
    torch.testing.assert_close(values[amp], values["off"], rtol=0.1, atol=0.02)
    for _ in range(6):  # fp16 halves its loss scale, and skips the step, until no gradient overflows
        trainers[amp]._step(batch, torch.Generator())
    assert not torch.equal(trainers[amp].method.fc.weight, before)
    assert all(torch.isfinite(parameter).all() for parameter in trainers[amp].method.parameters())


def test_protocol_paper_selects_on_the_test_set(make_card, tmp_path, capsys):
    train(make_card(protocol="paper", training__epochs=1), tmp_path)
    assert "41 faces train, 21 validate (protocol paper), 1 of 63 are unreadable" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "checkpoint.safetensors").scores["protocol"] == "paper"


def test_timm_backbones_train(make_card, tmp_path):
    train(make_card(model__backbone="timm/resnet10t", training__epochs=1), tmp_path)
    loaded = checkpoint.load(tmp_path / "checkpoint.safetensors")
    with torch.no_grad():
        assert list(loaded.method(torch.zeros(1, 3, 64, 64)).features) == [1, 2, 3, 4, 5]


def test_tensorboard_is_asked_for_in_one_line(make_card, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"training\.tensorboard: the package tensorboard is not installed"):
        train(make_card(training__tensorboard=True), tmp_path)


def test_the_second_process_waits_and_does_not_train_again(make_card, tmp_path):
    """It begins while the first still holds the folder, and finds the work done afterwards."""
    card = make_card(training__epochs=1)
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    out = tmp_path / "run"
    with state.hold(out) as waited:
        assert not waited
        command = [sys.executable, "-m", "train", str(run_yaml), "--out", str(out)]
        second = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        assert "waiting for its end" in second.stdout.readline()
        trainer = trainer_of(card, out / "state")
        checkpoint.save(out / "checkpoint.safetensors", trainer.method.state_dict(), card, trainer.prepared, {})
    printed, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert printed == f"the other process has finished this run: {out}\n"
    assert not (out / "state").exists()


def test_a_run_ends_with_its_parent(tmp_path):
    """Of a job of the workflow: killing the process that started it ends it (no orphan keeps a GPU)."""
    if sys.platform != "linux":
        pytest.skip("Linux only")
    child = "from time import sleep; from pipeline.errors import run; run(lambda: (print(1, flush=True), sleep(60)))"
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\nchild.wait()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=ROOT,
        env=ENVIRONMENT | {"END_WITH_PARENT": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_wrong_input_is_one_line(tmp_path, make_card):
    card = make_card(data={"folder": str(tmp_path / "nowhere")}).model_dump(mode="json")
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(card))
    command = [sys.executable, "-m", "train", str(run_yaml), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: \S+/nowhere/faces holds no shards; .*\n", done.stderr)


def test_gpus_are_claimed_one_each(tmp_path, monkeypatch):
    """With names in the place of GPUs: two claims get two, a third waits until one is free."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    slots = tmp_path / "slots"
    with device.claim(slots) as first:
        assert first == torch.device("cuda:0")
        with device.claim(slots) as second:
            assert second == torch.device("cuda:1")
            assert sorted(path.name for path in slots.iterdir()) == ["3.lock", "5.lock"]
            with (slots / "3.lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with device.claim(slots) as third:
            assert third == torch.device("cuda:1")
    monkeypatch.setenv("RUNS_PER_GPU", "2")
    with ExitStack() as stack:
        shared = [stack.enter_context(device.claim(slots)) for _ in range(4)]
        assert [str(one) for one in shared] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
        assert sorted(path.name for path in slots.iterdir()) == ["3.2.lock", "3.lock", "5.2.lock", "5.lock"]
    monkeypatch.setenv("RUNS_PER_GPU", "many")
    with pytest.raises(UserError, match=r"RUNS_PER_GPU='many' .* is no number of trainings"), device.claim(slots):
        pass
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with device.claim(tmp_path / "none") as given:
        assert given == torch.device("cuda:0")
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_users_share_the_claims(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory() as place:
            Path(place).chmod(0o755)
            slots = Path(place, "slots")
            with device.claim(slots):
                os.seteuid(65534)
                with device.claim(slots) as second:
                    assert second == torch.device("cuda:1")
            with device.claim(slots) as free:
                assert free == torch.device("cuda:0")
            os.seteuid(0)
            assert [oct(path.stat().st_mode)[-3:] for path in (slots, *slots.iterdir())] == ["777", "666", "666"]
    finally:
        os.seteuid(0)
        os.umask(before)


def test_one_training_claims_several_gpus_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("RUNS_PER_GPU", "2")
    with device.claim(tmp_path) as one, device.claim_several(3, tmp_path) as several:
        assert [one, *several] == [torch.device(f"cuda:{index}") for index in (0, 1, 2, 0)]
        with pytest.raises(BlockingIOError), (tmp_path / "several.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(UserError, match="4 processes need a GPU each, and this machine shows 3"):
        device.claim_several(4, tmp_path).__enter__()


def test_without_gpu_it_is_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with device.claim(tmp_path / "none") as given:
        assert given == torch.device("cpu")
