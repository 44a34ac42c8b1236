"""The report's claims: which comparison counts and what it shows."""

import pandas as pd
import pytest

from eval.records.runs import expected_runs, read_grid
from eval.report import claims, comparisons, runs
from tests.support.reported import run_folder

BASE = {("faces", "heldout", "cam"): (5.0, (5,), "own")}


def row(**changes):
    return {
        "dataset": "faces", "protocol": "heldout", "method": "cam", "guidance": "λ 5, layer 5", "against": "plain",
        "seed": "0", "seeds": "1", "metric": "attention_cosine", "plain": "0.5", "guided": "0.8", "difference": "0.3",
        "low": "0.2", "high": "0.4", "p": "0.001", "p_holm": "0.01",
    } | changes  # fmt: skip


# --- claims
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "held"),
        ({"low": "-0.1"}, "unshown"),
        ({"p_holm": "0.05"}, "unshown"),
        ({"low": "-0.4", "high": "-0.2"}, "contradicted"),
        ({"low": "0"}, "unshown"),
    ],
)
def test_a_rise_holds_if_interval_and_p_say_so(changes, expected):
    (found,) = claims.rises([row(**changes)], "attention_cosine")
    assert found.verdict == expected
    assert found.levels == "0.500 → 0.800"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [("-0.9", "2", "held"), ("-1.1", "2", "unshown"), ("-0.9", "-0.1", "contradicted"), ("0.1", "2", "held")],
)
def test_accuracy_may_lose_less_than_a_point(low, high, expected):
    (found,) = claims.preserved([row(metric="accuracy", low=low, high=high)])
    assert found.verdict == expected


def test_a_control_is_another_comparison_than_plain():
    rows = [row(), row(against="shuffled", low="-0.1")]
    assert [one.verdict for one in claims.rises(rows, "attention_cosine")] == ["held"]
    assert [one.verdict for one in claims.rises(rows, "attention_cosine", "shuffled")] == ["unshown"]


def test_only_the_mean_over_seeds_of_the_base_setting_counts():
    rows = [
        row(seed="0"), row(seed="1"), row(seed="mean", seeds="2", guided="0.9"),
        row(guidance="λ 1, layer 5"), row(seed="mean", seeds="2", guided="0.7"),
    ]  # fmt: skip
    (found,) = comparisons.chosen(pd.DataFrame(rows), BASE)
    assert (found["seed"], found["guided"]) == ("mean", "0.9")


def test_verdicts_are_put_together():
    held, unshown = (claims.rises([row(low=low)], "attention_cosine")[0] for low in ("0.1", "-0.1"))
    assert claims.verdict([held, held], 2) == "held"
    assert claims.verdict([held, unshown], 2) == "partly"
    assert claims.verdict([unshown], 2) == "unshown"
    assert claims.verdict([], 2) == "pending"
    assert claims.verdict([], 0) == "untested"
    assert "1 more" in claims.sentence([held], 2)


def test_claims_of_the_made_up_runs(folder):
    grid = read_grid(folder / "grid.json")
    found = expected_runs(grid, folder)
    base = runs.base(grid, found)
    assert base == {**BASE, ("faces", "heldout", "wildcat"): (5.0, (5,), "own")}
    compared = [comparisons.of_experiment(name, _of(grid, found, name), folder)[0] for name in ("table1", "controls")]
    rows = comparisons.chosen(pd.concat(compared), base)
    judged = {one.name: one for one in (*claims.paper_claims(rows, found, base), *claims.checks(rows, found, base))}
    assert {name: one.verdict for name, one in judged.items()} == {
        "attention": "held", "cam": "held", "gain": "unshown", "above": "held", "accuracy": "held",
        "affectnet": "untested", "generic": "held", "time": "held",
        "controls": "held", "baseline": "held", "apart": "held",
    }  # fmt: skip
    assert [one.levels for one in judged["time"].evidence] == ["10.0 s → 12.0 s"] * 2  # medians, not the first epoch
    assert judged["time"].evidence[0].change == "+20 %"
    assert judged["controls"].evidence[0].what.endswith("against shuffled classes")


@pytest.mark.parametrize(
    ("attention", "cam", "expected"),
    [
        (("0.25", "0.35"), ("0.1", "0.2"), "held"),
        (("0.15", "0.35"), ("0.1", "0.2"), "unshown"),  # the intervals overlap
        (("0.0", "0.09"), ("0.1", "0.2"), "contradicted"),
    ],
)
def test_attention_gains_more_if_the_intervals_do_not_overlap(attention, cam, expected):
    gains = {"attention_cosine": ("0.3", *attention), "cam_cosine": ("0.15", *cam)}
    rows = [row(metric=m, difference=d, low=low, high=high) for m, (d, low, high) in gains.items()]
    (found,) = claims._gains(rows, BASE)
    assert (found.verdict, found.levels, found.change) == (expected, "CAM-COS +0.150, ATT-COS +0.300", "+0.150")
    assert claims._gains(rows[:1], BASE) == []


def test_accuracy_on_affectnet_is_judged_there_only():
    rows = [
        row(metric="accuracy", plain="60.88", guided="62.37", low="0.5", dataset=name) for name in ("affectnet", "a")
    ]
    base = {(name, "heldout", "cam"): (5.0, (5,), "own") for name in ("affectnet", "a")}
    found = {one.name: one for one in claims.paper_claims(rows, [], base)}["affectnet"]
    assert (found.verdict, len(found.evidence)) == ("held", 1)
    assert found.finding.startswith("60.88 → 62.37")
    rows[0]["low"] = "-0.5"
    assert {one.name: one.verdict for one in claims.paper_claims(rows, [], base)}["affectnet"] == "unshown"


def _of(grid, found, name):
    return [one for one in found if one.name in grid["experiments"][name]["runs"]]


def test_slow_guidance_is_not_cheap(small):
    history = run_folder(small) / "history.csv"
    history.write_text("epoch,seconds\n1,13.6\n")  # 10 s without AU, and 107 / 79 = 1.354
    found = {one.name: one for one in _claims(small)}
    assert found["time"].verdict == "contradicted"
    assert found["generic"].verdict == "untested"


def _claims(folder):
    grid = read_grid(folder / "grid.json")
    found = expected_runs(grid, folder)
    return claims.paper_claims([], found, runs.base(grid, found))


def test_a_run_whose_faces_are_not_there_cannot_be_compared(small):
    (run_folder(small) / "images.csv").unlink()
    grid = read_grid(small / "grid.json")
    frame, remarks = comparisons.of_experiment("table1", _of(grid, expected_runs(grid, small), "table1"), small)
    assert frame.empty
    assert remarks[0].startswith("Cannot be made:")
    assert "images.csv does not exist" in remarks[0]
