"""How far the report says its numbers can be trusted."""

from eval.records.runs import expected_runs, read_grid
from eval.report import runs
from eval.report.trust import ladders, of_test_faces


def test_a_ladder_goes_up_from_baseline_to_ceiling(folder):
    grid = read_grid(folder / "grid.json")
    members = expected_runs(grid, folder)
    ladder = next(ladder for ladder in ladders(members, runs.base(grid, members)) if ladder.map == "ATT-COS")
    steps = [(step.label, step.text, step.kind) for step in ladder.steps]
    assert steps[0] == ("uniform map", "0.440", "baseline")
    assert steps[-1] == ("mean of true class", "0.970", "baseline")
    named = [step for step in steps if step[2] not in ("baseline", "ceiling")]
    assert named == [
        ("network without AU", "0.551", "plain"),
        ("guided by: shuffled classes", "0.701", "control"),
        ("network with AU", "0.881", "au"),
    ]
    assert "untrained network" not in [step[0] for step in steps]  # its baseline is null


def test_the_number_of_faces_says_how_sure_an_accuracy_can_be(folder):
    (sentence,) = of_test_faces(expected_runs(read_grid(folder / "grid.json"), folder))
    assert "56 test faces, 48 with an AU map" in sentence
    assert "a CL of 75 % would vary by about ±11.3 points" in sentence  # 1.96 sqrt(0.75 * 0.25 / 56) = 0.1134
    assert "fear, has 7 faces" in sentence
