"""The grid of runs: the paper's numbers, variants, shared trainings and the cards of runs."""

import json
import re
import subprocess
import sys

from pipeline.plugins import names
from tests.support.paths import ROOT
from train.card.checks import needed_weights
from workflow.config import parse, read
from workflow.grid import card, describe, grid, reused_run
from workflow.plan import Plan
from workflow.run_names import VARIANT, Run


def test_the_papers_numbers(paper):
    rafdb = card(paper, Run("heldout", "rafdb", "cam", "au-w4-l5", 0))
    affectnet = card(paper, Run("heldout", "affectnet", "cam", "plain", 0))
    assert (rafdb.training.epochs, rafdb.training.batch_size) == (100, 32)
    assert (affectnet.training.epochs, affectnet.training.batch_size) == (20, 224)
    assert (affectnet.training.learning_rate, affectnet.training.weight_decay) == (2e-3, 5e-4)
    assert (affectnet.training.step_size, affectnet.training.gamma) == (4, 0.9)
    assert (rafdb.guidance.weight, rafdb.guidance.layers, rafdb.guidance.reduction) == (4, (5,), "sum")
    assert affectnet.guidance.weight == 0
    assert (rafdb.model.backbone, rafdb.model.init, rafdb.model.image_size) == ("resnet50", "imagenet", 224)
    assert rafdb.variant == "au"


def test_the_grid(paper):
    table1 = [one.folder for one in grid(paper, "table1")]
    assert table1[:2] == ["heldout/rafdb/cam/plain/seed0", "heldout/rafdb/cam/au-w4-l5/seed0"]
    assert table1[-2:] == ["paper/affectnet/apvit/plain/seed0", "paper/affectnet/apvit/au-w9-l1/seed0"]
    assert "heldout/rafdb/cutmix/au-w4-l4/seed0" in table1
    assert [folder.replace("heldout", "paper", 1) for folder in table1[:44]] == table1[44:]
    assert len(table1) == 2 * 2 * 11 * 2
    assert {one.method for one in grid(paper, "table1")} == set(names("train.methods"))
    assert len(grid(paper, "lambda")) == 1 + 22  # 4 is also the default
    assert len(grid(paper, "layers")) == 1 + 9  # [5] too
    assert [one.variant for one in grid(paper, "controls")] == [
        "plain",
        "au-w4-l5",
        "au-w4-l5-shuffled",
        "au-w4-l5-landmarks",
        "au-w4-l5-uniform",
        "au-w4-l5-agnostic",
    ]
    assert len(grid(paper)) == 88 + 21 + 8 + 4


def test_a_control_is_a_variant_of_its_own(paper):
    own, shuffled = (Run("heldout", "rafdb", "cam", f"au-w4-l5{end}", 0) for end in ("", "-shuffled"))
    assert (shuffled.uncontrolled, own.uncontrolled, shuffled.plain) == (own, own, Run(*vars(own).values()).plain)
    assert (own.guided, own.plain.guided) == (True, False)
    before, after = card(paper, own), card(paper, shuffled)
    assert (before.guidance.map, after.guidance.map, after.variant) == ("own", "shuffled", "au")
    assert before.model_copy(update={"guidance": after.guidance}) == after
    assert re.fullmatch(VARIANT, "au-w1e-05-l5+4-agnostic")
    assert not re.fullmatch(VARIANT, "au-w1-l5-own")


def test_a_map_for_all_guided_runs(values):
    values["guidance"]["map"] = "uniform"
    config = parse(values)
    plain, guided = grid(config, "table1")[:2]
    assert guided.variant == "au-w4-l5-uniform"
    assert card(config, plain) == card(parse(values | {"guidance": {"layers": [5], "reduction": "sum"}}), plain)
    assert "map" not in card(config, plain).guidance.model_dump()


def test_the_grid_as_json(paper):
    found = json.loads(run_command("config.yaml", "--grid"))
    assert {name: part["kind"] for name, part in found["experiments"].items()} == {
        "table1": "table1",
        "lambda": "lambda",
        "layers": "table3",
        "controls": "controls",
    }
    folder = "heldout/rafdb/cam/au-w4-l5-uniform/seed0"
    assert folder in found["experiments"]["controls"]["runs"]
    assert found["runs"].keys() == {one.folder for one in grid(paper)}
    made = card(paper, Run("heldout", "rafdb", "cam", "au-w4-l5-uniform", 0))
    assert found["runs"][folder] == {
        "protocol": "heldout",
        "dataset": "rafdb",
        "method": "cam",
        "variant": "au",
        "seed": 0,
        "weight": 4,
        "layers": [5],
        "map": "uniform",
        "card": made.digest(),
    }
    assert found["datasets"]["rafdb"]["source"] == "rafdb"
    assert found["config"]["evaluation"] == {"faithfulness_images": 256, "gallery_faces": 8, "seed": 0}


def test_the_grid_of_a_config_on_standard_input(values):
    values["training"]["weight_decay"] = 1e-05  # which YAML would read as a word
    config = parse(values)
    text = Plan(config, config).config_json(None)
    assert run_command("-", "--grid", given=text) == describe(config)


def run_command(*arguments, given=""):
    """Call `python -m workflow.config`; return what it prints."""
    command = [sys.executable, "-m", "workflow.config", *arguments]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=True).stdout


def test_the_transformers_have_settings_of_their_own(paper):
    tscam = card(paper, Run("heldout", "rafdb", "tscam", "au-w4-l1", 0))
    apvit = card(paper, Run("heldout", "affectnet", "apvit", "plain", 0))
    assert (tscam.model.backbone, tscam.model.image_size, tscam.guidance.layers) == ("deit_small", 224, (1,))
    assert (apvit.model.backbone, apvit.model.image_size, apvit.guidance.layers) == ("ir50", 112, (1,))
    assert (apvit.training.epochs, tscam.training.epochs) == (20, 100)
    assert needed_weights(tscam) == ["backbone:deit_small"]
    assert needed_weights(apvit) == ["apvit:vit_weights"]


def test_methods_that_read_the_network_of_cam_share_its_training(paper):
    sharing = {one.method: reused_run(paper, one) for one in grid(paper, "table1") if reused_run(paper, one)}
    assert sharing.keys() == {"gradcam", "gradcampp", "layercam"}
    assert {other.method for other in sharing.values()} == {"cam"}
    apart = paper.model_copy(update={"independent": True})
    assert not any(reused_run(apart, one) for one in grid(apart))


def test_only_equal_trainings_are_shared(values):
    values["datasets"]["rafdb"]["methods"] = {"gradcam": {"training": {"momentum": 0.5}}}
    values["methods"]["gradcampp"] = {"model": {"options": {"mode": "published"}}}
    values["datasets"]["affectnet"]["model"] = {"options": {"mode": "published"}}  # cam takes no such option
    values["experiments"] = {
        "one": {"datasets": ["rafdb"], "methods": ["gradcam", "gradcampp", "layercam"], "seeds": [3]},
        "two": {"datasets": ["affectnet"], "methods": ["gradcampp"]},
    }
    config = parse(values)
    assert [reused_run(config, one) for one in grid(config, "one")] == [
        None,
        None,
        *(2 * [Run("heldout", "rafdb", "cam", "plain", 3), Run("heldout", "rafdb", "cam", "au-w4-l5", 3)]),
    ]
    assert [reused_run(config, one) for one in grid(config, "two")] == [None, None]


def test_lambda_keeps_its_digits_and_layers_their_sets(values):
    values["experiments"] = {
        "lambda": {**values["experiments"]["lambda"], "variants": ["au"], "weights": [0.123456789, 4.0]},
        "layers": {**values["experiments"]["layers"], "variants": ["au"], "layers": [[4, 5], [5, 4]]},
    }
    config = parse(values)
    runs = grid(config)
    assert [one.variant for one in runs] == ["au-w4-l5", "au-w0.123456789-l5", "au-w4-l5+4"]
    assert card(config, runs[1]).guidance.weight == 0.123456789
    assert card(config, runs[2]).guidance.layers == (5, 4)


def test_the_larger_demo_goes_on_where_the_smaller_one_ended():
    small, large = (read(ROOT / "workflow" / "configs" / name) for name in ("demo.yaml", "demo-all.yaml"))
    assert [card(large, one) for one in grid(small)] == [card(small, one) for one in grid(small)]
    assert (small.datasets, small.evaluation) == (large.datasets, large.evaluation)
    assert {one.method for one in grid(large)} == set(names("train.methods"))


def test_the_command_lists_the_runs():
    assert "heldout/synthetic/cam/plain/seed0" in run_command("workflow/configs/demo.yaml")
