"""Checkpoints with random weights, their scores and their ONNX files."""

import pytest
import torch

from eval.export.export import export
from eval.predict import predict
from eval.score import write_scores
from tests.support.family import FAMILY, noisy
from train.card.options import method_options
from train.checkpoints import checkpoint
from train.data.prepared import Prepared
from train.methods.base import build_method

SCORES = {"temperature": 1.5, "validation": "the dataset's own split, 11 faces"}


@pytest.fixture
def trained(make_card, tmp_path):
    """Write the checkpoint of a method with random weights; return its path."""

    def make(name="cam", mode="original", **changes):
        changes = FAMILY[name] | changes
        if "mode" in method_options(name):
            changes["model__options"] = {**changes.get("model__options", {}), "mode": mode}
        card = make_card(method=name, **changes)
        torch.manual_seed(1)
        method = noisy(build_method(card, initialise=False))
        path = tmp_path / "run" / "checkpoint.safetensors"
        checkpoint.save(path, method.state_dict(), card, Prepared(card.data.folder, card.heatmap), SCORES)
        return path

    return make


@pytest.fixture
def scored(trained):
    """Write a checkpoint and its scores; return its path."""
    path = trained()
    predict(path, path.with_name("predictions.h5"))
    write_scores(path.with_name("predictions.h5"), path.with_name("scores.json"))
    return path


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def exported(trained, shelf):
    """Write the ONNX file of a method, once; return the checkpoint that it is of and the file."""

    def make(name, mode="original"):
        path, file = trained(name, mode), shelf / f"{name}_{mode}.onnx"
        if not file.exists():
            export(path, onnx=file)
        return path, file

    return make
