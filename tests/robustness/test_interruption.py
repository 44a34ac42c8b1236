"""A training that is killed, stopped or meets another one ends like an unbroken one."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.runs import ENVIRONMENT, assert_same_run, history, trainer_of
from train.checkpoints import checkpoint
from train.engine import resume, signals
from train.engine.loop import train


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
        "run.yaml",
    ]


class AfterSteps(signals.Stop):
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
        assert end.value.code == signals.EXIT_RETRY
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
    monkeypatch.setattr(
        resume, "save", lambda folder, content: saved.append((len(content["history"]), content["step"]))
    )
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
    assert process.returncode == signals.EXIT_RETRY == 75
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


def test_the_second_process_waits_and_does_not_train_again(make_card, tmp_path):
    """It begins while the first still holds the folder, and finds the work done afterwards."""
    card = make_card(training__epochs=1)
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    out = tmp_path / "run"
    with resume.hold(out) as waited:
        assert not waited
        command = [sys.executable, "-m", "train", str(run_yaml), "--out", str(out)]
        second = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        assert "waiting for its end" in second.stdout.readline()
        trainer = trainer_of(card, out / "state")
        checkpoint.save(out / "checkpoint.safetensors", trainer.learner.method.state_dict(), card, trainer.prepared, {})
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
