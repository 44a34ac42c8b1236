"""One training in two processes is the training of one."""

import csv
import json
import re
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.errors import UserError
from tests.support.paths import ROOT
from tests.support.runs import ENVIRONMENT
from train.engine.distributed import Processes

ALONE = {key: value for key, value in ENVIRONMENT.items() if key not in ("RANK", "WORLD_SIZE")}


def together(card, folder, *, processes):
    folder.mkdir()
    (folder / "run.yaml").write_text(yaml.safe_dump(card.model_dump(mode="json")))
    command = [sys.executable, "-m", "train", str(folder / "run.yaml"), "--out", str(folder), "--gpus", str(processes)]
    return subprocess.run(command, cwd=ROOT, env=ALONE, capture_output=True, text=True, check=False)


def history(folder):
    with (folder / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


GRADIENTS = """
import torch, json
from torch import nn
from train.engine.distributed import Processes
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 7), nn.BatchNorm1d(7)
).double()
images, classes = torch.randn(9, 3, 8, 8).double(), torch.arange(9) % 7
processes = Processes()
part = processes.part(9)
joined = processes.join(network, torch.device("cpu"))
logits = joined(images[part])
loss = nn.functional.cross_entropy(logits, classes[part]) * len(classes[part]) / 9
(processes.size * loss).backward()
processes.wait()
processes.close()
if processes.is_main:
    print(json.dumps([value.tolist() for p in network.parameters() for value in (p.grad.flatten(),)]
                     + [value.double().flatten().tolist() for value in network.buffers()]))
"""


@pytest.mark.slow
def test_gradients_and_statistics_are_those_of_the_whole_batch(tmp_path):
    """In double precision, where rounding hides nothing; 9 faces do not divide evenly."""
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    environment = ALONE | {"PYTHONPATH": str(ROOT)}
    found = []
    for launch in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]):
        command = [sys.executable, *launch, str(script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    for one, two in zip(*found, strict=True):
        assert one == pytest.approx(two, rel=1e-9, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "changes"),
    [
        (1e-3, {"training__augmentation": "published", "training__averaging": 0.9, "training__clip_norm": 1.0}),
        (2e-3, {"method": "tscam", "model__backbone": "deit_micro", "guidance__layers": (1,)}),
        (1e-6, {"method": "cutmix", "guidance__layers": (5, 4)}),
    ],
    ids=["cam", "tscam", "cutmix"],
)
def test_two_processes_train_like_one(rate, changes, make_card, tmp_path):
    """Batches of 9 of 33 faces: they do not divide evenly, and some parts have fewer faces with a map than others.

    CutMix hardly learns here, so that only batches and losses count: where it learns, so small a network makes 0.005 of
    the loss from rounding (of one process: its batch normalisation is 6e-4 off double precision, that of two 1e-7).
    """
    card = make_card(training__epochs=3, training__batch_size=9, training__learning_rate=rate, **changes)
    for processes in (1, 2):
        done = together(card, tmp_path / str(processes), processes=processes)
        assert done.returncode == 0, done.stdout + done.stderr
    one, two = (history(tmp_path / name) for name in "12")
    for left, right in zip(one, two, strict=True):
        assert left == pytest.approx(right, rel=1e-4, abs=1e-4)
    first, second = (load_file(tmp_path / name / "last.safetensors") for name in "12")
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-2, atol=1e-3)
    assert not (tmp_path / "2" / "state").exists()


def test_every_face_is_in_one_part():
    for size in (1, 2, 3, 5):
        parts, shares = [], []
        for rank in range(size):
            processes = Processes()
            processes.rank, processes.size = rank, size
            parts += list(range(13))[processes.part(13)]
            shares += processes.share(list(range(13)))
        assert parts == sorted(shares) == list(range(13))


def test_a_batch_that_is_too_small_is_refused():
    processes = Processes()
    processes.size = 4
    with pytest.raises(UserError, match=re.escape("training.batch_size: a batch has 3 faces for 4 processes")):
        processes.part(3)
