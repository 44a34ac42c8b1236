"""Trainings for tests, and what two of them have in common."""

import csv
import os

import torch
from safetensors.torch import load_file

from train.data.prepared import Prepared
from train.engine.loop import Trainer

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def history(folder):
    """Rows of history.csv without the wall time."""
    with (folder / "history.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def tensors(folder):
    return load_file(folder / "checkpoint.safetensors")


def assert_same_run(first_folder, second_folder):
    assert history(first_folder) == history(second_folder)
    first, second = tensors(first_folder), tensors(second_folder)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def trainer_of(card, folder):
    folder.mkdir(exist_ok=True)
    return Trainer(card, Prepared(card.data.folder, card.heatmap), torch.device("cpu"), folder)
