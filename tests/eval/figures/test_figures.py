"""Figures of scores: their numbers, colours and files."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from au_guidance.expressions import Expression
from eval.figures import __main__ as figures
from eval.figures import style
from eval.figures.baselines import draw_baselines
from eval.figures.curves import draw_lambda, draw_layers
from eval.figures.faithfulness import draw_faithfulness
from eval.figures.matrices import draw_matrices
from eval.figures.reliability import draw_reliability
from eval.records.runs import gather
from pipeline.errors import UserError
from tests.support.figures import command, has_colour, numbers
from tests.support.scored import grid, guided, scores
from train.card.schema import Card

pytestmark = pytest.mark.usefixtures("coarse")


MakeCard = Callable[..., Card]


def test_lambda_draws_the_means_over_seeds(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [scores(runs, seed=seed, protocol="paper") for seed in (0, 1)]
    files += [
        guided(runs, weight=weight, seed=seed, settings=str(weight), accuracy=0.8 + seed / 50, protocol="paper")
        for weight in (0.01, 4, 20)
        for seed in (0, 1)
    ]
    heights: list[float] = []
    draw = Axes.axhline
    monkeypatch.setattr(Axes, "axhline", lambda axes, y, **look: [heights.append(y), draw(axes, y, **look)][1])
    draw_lambda(gather(files), tmp_path / "lambda")
    assert heights == pytest.approx([80, 88.2, 0.5, 0.55, 0.6, 0.57])  # of each panel: ours without AU, the paper's
    found = numbers(tmp_path / "lambda")
    accuracy = found[found["metric"] == "accuracy"].set_index("weight")
    assert accuracy["value"].to_dict() == pytest.approx({0: 80, 0.01: 81, 4: 81, 20: 81})
    assert accuracy["paper"].dropna().to_dict() == {0: 88.2, 4: 88.95}
    with pytest.raises(UserError, match="at least one finished run with AU"):
        draw_lambda(gather(files[:2]), tmp_path / "none")
    first = (tmp_path / "lambda.png").read_bytes(), (tmp_path / "lambda.pdf").read_bytes()
    draw_lambda(gather(files), tmp_path / "lambda")
    assert first == ((tmp_path / "lambda.png").read_bytes(), (tmp_path / "lambda.pdf").read_bytes())


def test_layers_have_a_row_each_and_protocols_their_colours(runs: Path, tmp_path: Path) -> None:
    files = [
        guided(runs, layers=one, settings=str(one), protocol=protocol)
        for one in ([5], [5, 4], [4])
        for protocol in ("heldout", "paper")
    ]
    draw_layers(gather([*files, scores(runs)]), tmp_path / "layers")
    assert numbers(tmp_path / "layers")["layers"].astype(str).nunique() == 3
    assert has_colour(tmp_path / "layers", style.COLOURS[0])
    assert has_colour(tmp_path / "layers", style.COLOURS[1])
    with pytest.raises(UserError, match="at least one finished run with AU"):
        draw_layers(gather([scores(runs, seed=1)]), tmp_path / "none")


def test_baselines_are_drawn_beside_all_variants(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs), guided(runs), guided(runs, map="uniform", settings="u")]
    draw_baselines(gather(files), tmp_path / "baselines")
    found = numbers(tmp_path / "baselines")
    assert set(found["variant"]) == {"plain", "au", "uniform"}
    assert found[found["metric"] == "baseline_class_agnostic"]["value"].unique().tolist() == [0.76]
    for variant in ("plain", "au", "uniform"):
        assert has_colour(tmp_path / "baselines", style.STYLES[variant][0])
    with pytest.raises(UserError, match="no finished runs"):
        draw_baselines([], tmp_path / "none")


def test_baselines_of_several_methods_have_a_row_per_method(runs: Path, tmp_path: Path) -> None:
    files = [make(runs, method=method) for method in ("cam", "prm", "adl") for make in (scores, guided)]
    draw_baselines(gather(files), tmp_path / "many")
    draw_baselines(gather(files[:2]), tmp_path / "one")
    heights = [cv2.imread(str(tmp_path / f"{name}.png")).shape[0] for name in ("many", "one")]
    assert heights[0] - heights[1] == pytest.approx(3.6 / 25.4 * style.DPI, abs=2)  # three rows instead of two


def test_matrices_hold_shares_and_cosines_by_hand(runs: Path, tmp_path: Path) -> None:
    [one] = gather([guided(runs)])
    draw_matrices([one], tmp_path / "m")
    found = numbers(tmp_path / "m", style.PAGE).set_index(["matrix", "row", "column"])
    assert found.loc[("confusion", "fear", "fear"), "value"] == pytest.approx(10 / 16)
    assert found.loc[("confusion", "fear", "anger"), ["value", "images"]].tolist() == [1 / 16, 1]
    assert found.loc[("cosine", "anger", "layer 4"), "value"] == 0.1
    assert found.loc[("cosine", "average", "CAM"), "value"] == 0.5
    order = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
    rows = {
        matrix: list(dict.fromkeys(found.loc[matrix].index.get_level_values("row")))
        for matrix in ("confusion", "cosine")
    }
    assert rows == {"confusion": [*order, "neutral"], "cosine": [*order, "average"]}
    with pytest.raises(UserError, match="one finished run"):
        draw_matrices([one, one], tmp_path / "n")


def test_matrices_of_a_method_without_cam_have_no_column_of_it(runs: Path, tmp_path: Path) -> None:
    draw_matrices(gather([guided(runs, cam_cosine=None)]), tmp_path / "m")
    assert "CAM" not in set(numbers(tmp_path / "m", style.PAGE)["column"])


def test_the_classes_of_a_confusion_move_together(runs: Path, tmp_path: Path) -> None:
    """Rows and columns of the scores are in the order of the class ids; 10 i + j of class i is taken for j."""
    counts = [[10 * i + j for j in range(7)] for i in range(7)]
    draw_matrices(gather([guided(runs, confusion=counts)]), tmp_path / "m")
    found = (
        numbers(tmp_path / "m", style.PAGE)
        .set_index(["matrix", "row", "column"])
        .sort_index()
        .loc["confusion", "images"]
    )
    for i, true in enumerate(Expression):
        for j, answer in enumerate(Expression):
            assert found[true.label, answer.label] == 10 * i + j


def test_matrices_with_au_stand_above_those_without(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, au = (
        scores(runs, accuracy=0.882, confusion=(8 * np.eye(7, dtype=int)).tolist()),
        guided(runs, accuracy=0.8895),
    )
    titles: list[str] = []
    monkeypatch.setattr(Axes, "set_title", lambda axes, text, **_: titles.append(text))
    command(figures, monkeypatch, "matrices", "--scores", plain, au, "--out", tmp_path / "m")
    assert titles[::2] == ["λ 5, layer 5: CL 88.95 %", "without AU: CL 88.20 %"]
    found = numbers(tmp_path / "m", style.PAGE)
    assert list(dict.fromkeys(found["variant"])) == ["au", "plain"]
    diagonal = found[(found["matrix"] == "confusion") & (found["row"] == found["column"])]
    assert diagonal.groupby("variant")["value"].unique().map(list).to_dict() == {"au": [10 / 16], "plain": [1.0]}
    other = guided(runs, seed=1)
    for pair in ([plain, other], [au, other], [plain, scores(runs, method="prm")]):
        with pytest.raises(UserError, match="one with AU and the same one without"):
            draw_matrices(gather(pair), tmp_path / "n")


def test_each_layer_is_drawn_against_itself_without_au(runs: Path, tmp_path: Path) -> None:
    levels = {"1": 0.1, "4": 0.4, "5": 0.5}
    files = [scores(runs, seed=seed, attention_cosine=levels | {"4": 0.4 + seed / 5}) for seed in (0, 1)]
    files += [
        guided(runs, layers=one, settings=str(one), attention_cosine=levels) for one in ([1], [4], [5], [5, 4, 1])
    ]
    draw_layers(gather(files), tmp_path / "layers")
    found = numbers(tmp_path / "layers").set_index(["metric", "guidance"])["without_au"]
    assert found["attention_cosine"].to_dict() == pytest.approx(
        {"plain": 0.5, "λ 5, layer 1": 0.1, "λ 5, layer 4": 0.5, "λ 5, layer 5": 0.5, "λ 5, layer 5+4+1": 0.5}
    )  # 0.5 of layer 4 is the mean of 0.4 and 0.6
    assert found["accuracy"].tolist() == pytest.approx([80] * 5)


def test_reliability_has_the_bins_of_every_run(runs: Path, tmp_path: Path) -> None:
    draw_reliability(gather([scores(runs), guided(runs)]), tmp_path / "r")
    found = numbers(tmp_path / "r")
    assert found.groupby("variant").size().to_dict() == {"au": 10, "plain": 10}
    with pytest.raises(UserError, match="no scores file has a calibration"):
        draw_reliability(gather([scores(runs, calibration=None)]), tmp_path / "n")


def with_faithfulness(path: Path, shift: float) -> Path:
    rows = [
        {"kind": kind, "measure": measure, "step": step, "fraction": step / 4, "value": shift + step / 8}
        for kind in ("cam", "attention")
        for measure in ("deletion", "random_deletion", "insertion", "random_insertion", "road_morf", "road_lerf")
        for step in range(5)
    ]
    pd.DataFrame(rows).to_csv(path.with_name("faithfulness.csv"), index=False)
    stages = [{"stage": "fc", "cam": 0.5, "attention": 1.0}, {"stage": "layer4", "cam": 0.1, "attention": 0.2}]
    gains = {kind: {"deletion_gain": shift, "insertion_gain": 0.1, "road": -0.1} for kind in ("cam", "attention")}
    path.with_name("faithfulness.json").write_text(json.dumps({"maps": gains, "randomisation": stages}))
    return path


def test_faithfulness_curves_are_means_over_seeds(runs: Path, tmp_path: Path) -> None:
    files = [with_faithfulness(guided(runs, seed=seed), seed / 5) for seed in (0, 1)]
    files.append(with_faithfulness(scores(runs), 0))
    draw_faithfulness(gather(files), tmp_path / "f")
    found = numbers(tmp_path / "f").set_index(["variant", "kind", "measure", "step"])["value"]
    assert found["au", "cam", "deletion", 2] == pytest.approx(0.1 + 2 / 8)
    assert found["plain", "attention", "randomisation", 1] == 0.2
    files += [with_faithfulness(make(runs, method="prm"), 0) for make in (scores, guided)]
    draw_faithfulness(gather(files), tmp_path / "g")
    assert set(numbers(tmp_path / "g")["method"]) == {"cam", "prm"}
    many = ("wildcat", "gradcam", "gradcampp", "acol", "adl")
    files += [with_faithfulness(make(runs, method=method), 0.3) for method in many for make in (scores, guided)]
    draw_faithfulness(gather(files), tmp_path / "h")
    found = numbers(tmp_path / "h").set_index(["method", "variant", "kind", "measure"])["value"]
    assert found["acol", "au", "cam", "deletion_gain"] == 0.3
    with pytest.raises(UserError, match=r"no scores file has a faithfulness\.csv"):
        draw_faithfulness(gather([scores(runs)]), tmp_path / "n")


def test_figures_of_scores_from_the_command_line(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [scores(runs), guided(runs)]
    expected = grid(tmp_path / "grid.json", *files, more={"seed": 1})
    arguments = ("--scores", *files, "--grid", expected, "--experiment", "table1")
    command(figures, monkeypatch, "reliability", *arguments, "--out", tmp_path / "r")
    assert set(numbers(tmp_path / "r")["variant"]) == {"plain", "au"}
    with pytest.raises(SystemExit, match="matrices are of one finished run"):
        command(figures, monkeypatch, "matrices", *arguments, "--out", tmp_path / "m")
    assert set(figures.KINDS) == {"lambda", "layers", "baselines", "matrices", "reliability", "faithfulness"}
    with pytest.raises(SystemExit, match="give --scores, --grid or both"):
        command(figures, monkeypatch, "lambda", "--out", tmp_path / "x")
