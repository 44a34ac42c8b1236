"""Every method learns with the options of config.yaml: a short training that goes on from a trained network."""

import numpy as np
import pytest
import yaml

from au_guidance.expressions import Expression
from pipeline.plugins import names
from tests.support.faces import write_shard
from tests.support.paths import ROOT
from tests.support.runs import history
from train.card.options import method_constant
from train.card.schema import Card
from train.engine.loop import train

pytestmark = pytest.mark.slow
METHODS = yaml.safe_load((ROOT / "config.yaml").read_text())["methods"]
TRAINED = [name for name in names("train.methods") if method_constant(name, "TRAINED_AS") is None]
SMALLER = {"acol": {"width": 64}, "apvit": {"vit_weights": "none", "keep": 18, "dim": 96, "depth": 4, "heads": 4}}
FROM_SCRATCH = {"tscam": "deit_micro", "apvit": "ir50_micro"}


@pytest.fixture(scope="module")
def learn(tmp_path_factory):
    """Train a method on 168 faces; return its folder and its mean training accuracy in the last two epochs."""
    folder, rng = tmp_path_factory.mktemp("learning"), np.random.default_rng(0)
    rows = []
    for split, copies in (("train", 24), ("test", 1)):
        classes = rng.permutation(np.repeat(np.arange(7), copies))
        rows += [(f"{split}_{number:03d}", split, Expression(one), number) for number, one in enumerate(classes)]
    for shard in range(2):
        write_shard(folder / "data", shard, rows[shard::2], rng)

    def run(name, method, init, options, epochs=4):
        scratch = method in FROM_SCRATCH
        card = {
            "dataset": "drawn",
            "method": method,
            "variant": "plain",
            "seed": 0,
            "protocol": "paper",
            "data": {"folder": folder / "data"},
            "heatmap": {},
            "model": {
                "backbone": FROM_SCRATCH.get(method, "resnet18_quarter"),
                "init": "none" if scratch else str(init),
                "image_size": 48 if scratch else 64,
                "normalisation": "image",
                "options": options,
            },
            "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 0.02, "clip_norm": float(scratch)},
            "guidance": {"weight": 0.0, "layers": [1 if scratch else 5]},
        }
        train(Card.model_validate(card), folder / name)
        accuracies = [float(row["train_accuracy"]) for row in history(folder / name)]
        return folder / name, np.mean(accuracies[-2:])

    return run


@pytest.fixture(scope="module")
def start(learn):
    folder, _ = learn("start", "cam", "none", {}, epochs=5)
    return folder / "checkpoint.safetensors"


def options_of(method):
    return METHODS[method].get("model", {}).get("options", {}) | SMALLER.get(method, {})


@pytest.mark.parametrize("method", TRAINED)
def test_a_method_learns_with_the_options_of_the_config(method, learn, start):
    _, accuracy = learn(method, method, start, options_of(method))
    assert accuracy > (0.25 if method in FROM_SCRATCH else 0.5)  # chance is 0.14


def test_the_published_options_of_adl_destroy_a_training(learn, start):
    _, accuracy = learn("collapse", "adl", start, {"drop_rate": 0.4, "threshold": 0.1})
    assert accuracy < 0.4
