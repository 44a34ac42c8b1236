"""The config: the paper's numbers, the grid, and one clear line for each mistake."""

import copy
import json
import re
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.plugins import names
from tests.support.paths import ROOT
from train.card.checks import needed_weights
from workflow.card import write
from workflow.config import parse, read
from workflow.grid import VARIANT, Run, card, described, grid, shared
from workflow.plan import Plan
from workflow.schema import keys


@pytest.fixture(scope="module")
def paper():
    return read(ROOT / "config.yaml")


@pytest.fixture
def values():
    return copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text()))


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
    text = Plan(config, config).described(None)
    assert run_command("-", "--grid", given=text) == described(config)


def run_command(*arguments, given=""):
    """Call `python -m workflow.config`; return what it prints."""
    command = [sys.executable, "-m", "workflow.config", *arguments]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=True).stdout


def test_precision_may_be_a_bare_off(values):
    values["training"]["amp"] = yaml.safe_load("off")
    assert card(parse(values), Run("heldout", "rafdb", "cam", "plain", 0)).training.amp == "off"
    values["training"]["amp"] = True
    with pytest.raises(UserError, match=r"training.amp.*'off', 'bf16' or 'fp16'"):
        parse(values)


def test_the_transformers_have_settings_of_their_own(paper):
    tscam = card(paper, Run("heldout", "rafdb", "tscam", "au-w4-l1", 0))
    apvit = card(paper, Run("heldout", "affectnet", "apvit", "plain", 0))
    assert (tscam.model.backbone, tscam.model.image_size, tscam.guidance.layers) == ("deit_small", 224, (1,))
    assert (apvit.model.backbone, apvit.model.image_size, apvit.guidance.layers) == ("ir50", 112, (1,))
    assert (apvit.training.epochs, tscam.training.epochs) == (20, 100)
    assert needed_weights(tscam) == ["backbone:deit_small"]
    assert needed_weights(apvit) == ["apvit:vit_weights"]


def test_methods_that_read_the_network_of_cam_share_its_training(paper):
    sharing = {one.method: shared(paper, one) for one in grid(paper, "table1") if shared(paper, one)}
    assert sharing.keys() == {"gradcam", "gradcampp", "layercam"}
    assert {other.method for other in sharing.values()} == {"cam"}
    apart = paper.model_copy(update={"independent": True})
    assert not any(shared(apart, one) for one in grid(apart))


def test_only_equal_trainings_are_shared(values):
    values["datasets"]["rafdb"]["methods"] = {"gradcam": {"training": {"momentum": 0.5}}}
    values["methods"]["gradcampp"] = {"model": {"options": {"mode": "published"}}}
    values["datasets"]["affectnet"]["model"] = {"options": {"mode": "published"}}  # cam takes no such option
    values["experiments"] = {
        "one": {"datasets": ["rafdb"], "methods": ["gradcam", "gradcampp", "layercam"], "seeds": [3]},
        "two": {"datasets": ["affectnet"], "methods": ["gradcampp"]},
    }
    config = parse(values)
    assert [shared(config, one) for one in grid(config, "one")] == [
        None,
        None,
        *(2 * [Run("heldout", "rafdb", "cam", "plain", 3), Run("heldout", "rafdb", "cam", "au-w4-l5", 3)]),
    ]
    assert [shared(config, one) for one in grid(config, "two")] == [None, None]


def test_later_levels_win(values):
    values["guidance"]["weight"] = 1
    values["methods"]["cam"] = {"guidance": {"weight": 2}, "training": {"momentum": 0.5}}
    values["experiments"]["table1"]["methods"] = ["cam"]
    values["datasets"]["rafdb"]["methods"] = {"cam": {"guidance": {"weight": 3}}}
    del values["datasets"]["affectnet"]["guidance"]
    config = parse(values)
    assert {one.variant for one in grid(config, "table1")} == {"plain", "au-w3-l5", "au-w2-l5"}
    assert card(config, grid(config)[0]).training.momentum == 0.5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("datasets.rafdb.sorce", "rafdb", r"datasets\.rafdb: there is no key 'sorce' \(did you mean 'source'\?\)"),
        ("datasets.rafdb.source", "rafbd", r"datasets\.rafdb\.source: there is no source 'rafbd'.*'rafdb'.*affectnet"),
        ("datasets.rafdb.extractor", "dlip", r"datasets\.rafdb\.extractor: .*'dlip' \(did you mean 'dlib'\?\)"),
        ("datasets.rafdb.detector", "mtcnn", r"datasets\.rafdb\.detector: there is no detector 'mtcnn'.*dlib"),
        ("heatmap.codebook", "paper", r"heatmap\.codebook: there is no codebook 'paper'.*emfacs.*paper_text"),
        ("heatmap.geometry", "round", r"heatmap\.geometry: there is no geometry 'round'.*symmetric"),
        ("experiments.table1.methods", ["cma"], r"experiments\.table1\.methods: there is no method 'cma'.*'cam'"),
        ("experiments.table1.datasets", ["raf"], r"experiments\.table1\.datasets: .*'raf'.*rafdb"),
        ("training.learing_rate", 0.1, r"training: .*'learing_rate' \(did you mean 'learning_rate'\?\)"),
        ("training.epochs", 0, r"epochs: .*greater than or equal to 1"),
        ("model.options", {"dropp": 1}, r"model\.options.*'dropp'"),
        ("model.backbone", "resnet51", r"backbone.*'resnet51'.*resnet50"),
        ("methods.kam", {}, r"methods: there is no method 'kam'"),
        ("protocol", "tests", r"protocol: .*heldout"),
        ("datasets.rafdb.generate", {"identities_train": 1, "identities_test": 1}, r"datasets\.rafdb: .*`root`"),
        (
            "datasets.mine",
            {"source": "rafdb", "generate": {"identities_train": 1, "identities_test": 1}},
            r"'synthetic'",
        ),
        ("datasets.rafdb.extractor_options", {"fiel": "x"}, r"extractor_options: .*no option 'fiel'.*weights"),
        ("datasets.rafdb.extractor", "published", r"extractor_options: .*published needs the option 'file'"),
        ("validation.seed", -1, r"validation\.seed: .*greater than or equal to 0"),
        ("experiments.lambda.weights", [float("inf")], r"weights.*finite"),
        ("experiments.table1.seeds", [True], r"seeds.*integer"),
        ("experiments.table1.protocol", "paper", r"no key 'protocol' \(did you mean 'protocols'\?\)"),
        ("experiments.controls.controls", ["shufled"], r"controls.*'shuffled', 'landmarks', 'uniform' or 'agnostic'"),
        (
            "experiments.layers.weights",
            [1],
            r"experiments\.layers: it varies weights and layers; make an experiment of",
        ),
        ("guidance.map", "owns", r"guidance\.map: .*'own'"),
        ("evaluation.faithfulness_images", -1, r"evaluation\.faithfulness_images: .*greater than or equal to 0"),
        ("datasets.rafdb.guidance.weight", 0, r"guidance\.weight of cam on rafdb is 0"),
        (
            "experiments.layers.methods",
            ["tscam"],
            r"tscam on rafdb: guidance\.layers: deit_small has no layer 3; it has 1, 2",
        ),
        (
            "methods.apvit.model.backbone",
            "resnet50",
            r"apvit on rafdb: model\.backbone: .*apvit runs on ir50.*not on resnet50",
        ),
        ("methods.cutmix.model.options", {"bta": 1}, r"cutmix has no option 'bta' \(did you mean 'beta'"),
        ("guidance.layers", [6], r"layers.*less than or equal to 5"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(values, path, value, message):
    *parents, last = path.split(".")
    section = values
    for part in parents:
        section = section[part]
    section[last] = value
    with pytest.raises(UserError, match=message) as caught:
        parse(values)
    assert "\n" not in str(caught.value)


def test_an_experiment_may_not_take_a_targets_name(values):
    values["experiments"]["faces"] = values["experiments"].pop("table1")
    with pytest.raises(UserError, match="'faces' is the name of another target"):
        parse(values)


@pytest.mark.parametrize("name", ["table2", "table1-guidance", "lambda-baselines"])
def test_an_experiment_may_not_take_another_ones_table(values, name):
    values["experiments"][name] = values["experiments"]["table1"]
    with pytest.raises(UserError, match=f"'{name}' is the name of another target or table"):
        parse(values)


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


def test_checking_needs_no_heavy_library():
    code = (
        "import sys; from workflow.config import read; from pathlib import Path; read(Path('config.yaml'));"
        "print(sorted({'torch', 'pandas', 'cv2', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_key_is_described():
    lines = list(keys())
    assert len(lines) > 50
    assert all(not line.endswith(": None") for line in lines)
    assert any(line.startswith("datasets.<name>.extractor [face_alignment]: 68 landmarks") for line in lines)


def test_the_command_lists_the_runs():
    assert "heldout/synthetic/cam/plain/seed0" in run_command("workflow/configs/demo.yaml")


def test_a_card_survives_the_file(paper, tmp_path):
    from train.card.checks import read_card

    made = card(paper, grid(paper)[1])
    write(made.line(), tmp_path / "run.yaml")
    assert read_card(tmp_path / "run.yaml") == made


def test_the_order_of_options_does_not_change_a_card(paper):
    made = card(paper, Run("heldout", "rafdb", "apvit", "plain", 0))
    there, back = ({"keep": 50, "depth": 4}, {"depth": 4, "keep": 50})
    one, other = (
        made.model_copy(update={"model": made.model.model_copy(update={"options": x})}) for x in (there, back)
    )
    assert one.model_dump_json() != other.model_dump_json()
    assert one.digest() == other.digest() != made.digest()
    assert one.digest(exclude={"seed"}) == other.digest(exclude={"seed"})


def test_a_damaged_card_is_named(paper, tmp_path):
    from train.card.checks import read_card

    path = tmp_path / "run.yaml"
    write(card(paper, grid(paper)[0]).line(), path)
    path.write_text(path.read_text().replace("seed: 0", "sed: 0", 1))
    with pytest.raises(UserError, match=r"run\.yaml: .*'sed'.*'seed'"):
        read_card(path)


def test_the_config_refuses_an_empty_file(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UserError, match="holds no keys"):
        read(tmp_path / "empty.yaml")


KEYS = st.sampled_from(
    ["training", "datasets", "rafdb", "shards", "epochs", "guidance", "layers", "experiments", "methods"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.lists(KEYS, max_size=3), value=VALUES)
def test_any_value_at_any_key_is_taken_or_refused_in_one_line(values, path, value):
    """Somebody's mistake: a value of any kind in any place of a good config."""
    changed = copy.deepcopy(values)
    place = changed
    for key in path[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else {}
    if path and isinstance(place, dict):
        place[path[-1]] = value
    try:
        config = parse(changed)
    except UserError as error:
        lines = str(error).splitlines()
        if len(lines) != 1:
            pytest.fail(f"not one line: {lines}")
    else:
        assert parse(json.loads(config.model_dump_json(exclude_none=True))) == config
