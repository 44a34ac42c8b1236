"""Which tables, figures and pictures an experiment has, by what it varies."""

import copy
from collections import Counter
from types import SimpleNamespace

import pytest
import yaml

from tests.support.paths import ROOT
from workflow.config import RESERVED, parse, read
from workflow.results import PICTURES, Results

EVERY = ("baselines", "classification", "faithfulness", "groups", "time")


@pytest.fixture(scope="module")
def paper():
    return Results(read(ROOT / "config.yaml"))


@pytest.fixture
def values():
    return copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text()))


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("table1", {"table1": "table1", "table2": "table2"}),
        ("lambda", {"lambda": "lambda"}),
        ("layers", {"layers": "table3"}),
        ("controls", {}),
    ],
)
def test_the_tables_of_an_experiment(paper, name, own):
    assert paper.tables_of(name) == own | {f"{name}-{kind}": kind for kind in EVERY}
    assert f"results/tables/{name}-guidance.csv" in paper.of(name)


def test_a_table1_of_another_name_has_an_att_cos_table_of_its_own(values):
    values["experiments"]["mine"] = values["experiments"]["table1"]
    assert Results(parse(values)).tables["mine-attention"] == ("mine", "table2")


def test_the_figures_of_an_experiment(paper):
    found = {name: paper.figures_of(name) for name in paper.config.experiments}
    assert found == {
        "table1": ["baselines", "faithfulness"],
        "lambda": ["lambda"],
        "layers": ["layers"],
        "controls": ["baselines", "faithfulness"],
    }


def test_pictures_are_of_the_first_seed_and_not_of_sweeps(values):
    values["experiments"]["table1"] |= {"seeds": [3, 4], "methods": ["cam", "adl"], "datasets": ["rafdb"]}
    results = Results(parse(values))
    found = list(results.pictures_of("table1"))
    runs, guided = 2 * 2 * 2, 2 * 2  # protocols x methods x variants
    assert Counter(kind for kind, _ in found) == {
        "matrices": runs,
        "reliability": runs,
        "maps": guided,
        "panels": guided,
        "gallery": guided / 2,
    }
    assert all("seed3" in path for _, path in found)
    assert ("maps", "results/figures/paper/rafdb/adl/au-w4-l5/seed3.png") in found
    assert ("gallery", "results/figures/heldout/rafdb/cam/au-w4-l5/seed3/gallery") in found
    assert not list(results.pictures_of("lambda"))
    assert {kind for kind, _ in results.pictures_of("controls")} == {"maps"}


def test_what_the_config_leaves_out_is_no_result(values):
    values["evaluation"] |= {"faithfulness_images": 0, "gallery_faces": 0}
    results = Results(parse(values))
    assert not [path for path in results.everything() if "faithfulness" in path or "gallery" in path]
    assert results.targets()["gallery"] == []


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({}, True),
        ({"variants": ["au"]}, False),
        ({"variants": ["plain"]}, False),
        ({"variants": ["au"], "controls": ["uniform"]}, True),
        ({"variants": ["plain"], "controls": ["uniform"]}, True),
        ({"variants": ["au"], "weights": [1]}, False),
    ],
)
def test_a_comparison_needs_two_sides(values, changes, compared):
    values["experiments"] = {"one": {"datasets": ["rafdb"], "methods": ["cam"]} | changes}
    results = Results(parse(values))
    assert results.compared("one") is compared
    assert ("results/tables/one-guidance.csv" in results.of("one")) is compared


def test_matrices_of_a_guided_run_stand_above_those_of_its_plain_run(paper, values):
    wildcards = SimpleNamespace(protocol="heldout", dataset="rafdb", method="cam", variant="au-w4-l5", seed="0")
    own, plain = (f"results/runs/heldout/rafdb/cam/{variant}/seed0/scores.json" for variant in ("au-w4-l5", "plain"))
    wildcards.figure = "matrices"
    assert paper.pictured(wildcards) == [own, plain]
    values["experiments"] = {"one": {"datasets": ["rafdb"], "methods": ["cam"], "variants": ["au"]}}
    assert Results(parse(values)).pictured(wildcards) == [own]
    wildcards.figure = "reliability"
    assert paper.pictured(wildcards) == [own]
    wildcards.figure, wildcards.variant = "matrices", "plain"
    assert paper.pictured(wildcards) == [plain]


def test_every_result_is_a_target(paper):
    targets = paper.targets()
    assert targets.keys() >= {
        "table1",
        "table2",
        "lambda",
        "layers",
        "layers-baselines",
        "lambda-lambda-figure",
        "panels",
    }
    assert targets["controls-guidance"] == ["results/tables/controls-guidance.csv"]
    alone = {path for name, paths in targets.items() if name not in paper.config.experiments for path in paths}
    assert set(paper.everything()) - alone == {f"results/tables/{name}.csv" for name in ("table1", "lambda", "layers")}
    assert targets["table1"] == paper.of("table1")
    assert targets.keys() & RESERVED == set(PICTURES)


def test_what_a_table_is_made_from(paper):
    for table, file in (("lambda-time", "history.csv"), ("lambda-faithfulness", "faithfulness.json")):
        beside = paper.beside(SimpleNamespace(table=table))
        assert beside == [path.replace("scores.json", file) for path in paper.scores(SimpleNamespace(table=table))]
        assert len(beside) == 23
    assert paper.beside(SimpleNamespace(table="table2")) == []
    figure = SimpleNamespace(experiment="controls", figure="faithfulness")
    assert paper.beside(figure)[0] == "results/runs/heldout/rafdb/cam/plain/seed0/faithfulness.json"
    written = paper.expected_runs(SimpleNamespace(table="table2"), SimpleNamespace(grid="my results/grid.json"))
    assert written == "--grid 'my results/grid.json' --experiment table1"
