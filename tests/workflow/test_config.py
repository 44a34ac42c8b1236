"""The config: its keys and one clear line for each mistake."""

import copy
import json
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from tests.support.paths import ROOT
from workflow.config import parse, read
from workflow.grid import card, grid, overridden
from workflow.run_names import Run
from workflow.schema import keys


def test_precision_may_be_a_bare_off(values):
    values["training"]["amp"] = yaml.safe_load("off")
    assert card(parse(values), Run("heldout", "rafdb", "cam", "plain", 0)).training.amp == "off"
    values["training"]["amp"] = True
    with pytest.raises(UserError, match=r"training.amp.*'off', 'bf16' or 'fp16'"):
        parse(values)


def test_the_most_specific_level_wins(values):
    """all < dataset < method < method on dataset, key by key."""
    values["guidance"]["weight"] = 1
    values["training"]["momentum"] = 0.1
    values["datasets"]["rafdb"] |= {"guidance": {"weight": 2}, "methods": {"cam": {"guidance": {"weight": 4}}}}
    values["datasets"]["rafdb"]["training"]["momentum"] = 0.2
    values["datasets"]["affectnet"]["guidance"] = {"weight": 2}
    values["methods"] |= {"cam": {"guidance": {"weight": 3}}, "acol": {"training": {"momentum": 0.3}}}
    values["experiments"] = {"table1": {"datasets": ["rafdb", "affectnet"], "methods": ["cam", "acol", "prm"]}}
    values["datasets"]["synthetic"] = {
        "source": "synthetic",
        "root": "x",
        "training": values["datasets"]["rafdb"]["training"],
    }
    config = parse(values)

    def weight(dataset, method):
        return next(
            one.variant for one in grid(config) if (one.dataset, one.method, one.guided) == (dataset, method, True)
        )

    assert weight("rafdb", "cam") == "au-w4-l5"
    assert weight("affectnet", "cam") == "au-w3-l5"
    assert weight("affectnet", "acol") == weight("rafdb", "prm") == "au-w2-l5"
    momentum = {
        (one.dataset, one.method): card(config, one).training.momentum for one in grid(config) if not one.guided
    }
    assert momentum["rafdb", "acol"] == 0.3
    assert momentum["rafdb", "cam"] == 0.2
    assert momentum["affectnet", "prm"] == 0.1
    assert overridden(config) == [
        "datasets.rafdb.training.momentum: 0.2 is overridden by methods.acol.training.momentum: 0.3",
        "datasets.affectnet.guidance.weight: 2.0 is overridden by methods.cam.guidance.weight: 3.0",
    ]


def test_the_configs_of_the_project_override_nothing(paper):
    configs = [paper, *(read(path) for path in sorted((ROOT / "workflow" / "configs").glob("*.yaml")))]
    assert [overridden(config) for config in configs] == [[]] * len(configs)


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
    assert any(line.startswith("datasets.<name>.extractor [mesh]: 68 landmarks") for line in lines)


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


@pytest.mark.slow
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
