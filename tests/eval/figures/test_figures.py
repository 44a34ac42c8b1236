import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest

from au_guidance.expressions import SIX, Expression
from eval.figures import __main__ as figures
from eval.figures import gallery, panels, style
from eval.figures.baselines import draw_baselines
from eval.figures.curves import draw_lambda, draw_layers
from eval.figures.faces import RunPair, aligned, overlay, read_pair
from eval.figures.faithfulness import draw_faithfulness
from eval.figures.matrices import draw_matrices
from eval.figures.reliability import draw_reliability
from eval.records.predictions import read
from eval.records.runs import gather
from pipeline.errors import UserError, run
from tests.support.constructed import Constructed
from tests.support.scored import grid, guided, scores
from train.card.schema import Card

MakeCard = Callable[..., Card]


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 100)  # quicker to write


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def numbers(out: Path) -> pd.DataFrame:
    """Check that a figure has its three files, is a column wide and not empty; read its numbers."""
    assert out.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    picture = cv2.imread(str(out.with_suffix(".png")))
    assert picture.shape[1] == pytest.approx(style.COLUMN / 25.4 * style.DPI, abs=2)
    assert 0.002 < (picture.min(2) < 200).mean() < 0.9
    return pd.read_csv(out.with_suffix(".csv"))


def has_colour(out: Path, colour: str) -> bool:
    wanted = np.rint(255 * np.array(matplotlib.colors.to_rgb(colour)))[::-1]
    return bool((cv2.imread(str(out.with_suffix(".png"))) == wanted).all(2).any())


def test_lambda_draws_the_means_over_seeds(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, seed=seed) for seed in (0, 1)]
    files += [
        guided(runs, weight=weight, seed=seed, settings=str(weight), accuracy=0.8 + seed / 50)
        for weight in (0.01, 4, 20)
        for seed in (0, 1)
    ]
    draw_lambda(gather(files), tmp_path / "lambda")
    found = numbers(tmp_path / "lambda")
    accuracy = found[found["metric"] == "accuracy"].set_index("weight")
    assert accuracy["value"].to_dict() == pytest.approx({0: 80, 0.01: 81, 4: 81, 20: 81})
    assert accuracy.loc[4, "paper"] == 88.95
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
    found = numbers(tmp_path / "m").set_index(["matrix", "row", "column"])
    assert found.loc[("confusion", "fear", "fear"), "value"] == pytest.approx(10 / 16)
    assert found.loc[("confusion", "fear", "anger"), ["value", "images"]].tolist() == [1 / 16, 1]
    assert found.loc[("cosine", "anger", "layer 4"), "value"] == 0.1
    assert found.loc[("cosine", "average", "CAM"), "value"] == 0.5
    with pytest.raises(UserError, match="one finished run"):
        draw_matrices([one, one], tmp_path / "n")


def test_matrices_of_a_method_without_cam_have_no_column_of_it(runs: Path, tmp_path: Path) -> None:
    draw_matrices(gather([guided(runs, cam_cosine=None)]), tmp_path / "m")
    assert "CAM" not in set(numbers(tmp_path / "m")["column"])


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


@pytest.fixture
def pair(make_card: MakeCard, tmp_path: Path) -> RunPair:
    """Two runs: the maps of the first are uniform, those of the second the AU maps; each has wrong answers."""
    plain = Constructed(make_card(variant="plain", guidance__weight=0.0))
    au = Constructed(make_card())
    flat = np.ones((len(plain.ids), 4, 4))
    said = plain.right()
    said[plain.expressions == Expression.ANGER] = np.eye(7, dtype=np.float32)[Expression.FEAR]
    plain.write(tmp_path / "plain.h5", logits=said, cam=flat, attention_5=flat)
    au.write(tmp_path / "au.h5", logits=au.right(2), cam=au.heatmaps, attention_5=au.heatmaps / 2)
    return read_pair(tmp_path / "plain.h5", tmp_path / "au.h5")


def test_runs_must_be_a_pair(pair: RunPair, make_card: MakeCard, tmp_path: Path) -> None:
    plain, au = pair.plain.path, pair.au.path
    with pytest.raises(UserError, match="without AU first"):
        read_pair(au, plain)
    other = Constructed(make_card(seed=1))
    path = other.write(tmp_path / "other.h5", cam=other.heatmaps, attention_5=other.heatmaps)
    with pytest.raises(UserError, match="differ in seed"):
        read_pair(plain, path)
    fewer = Constructed(make_card())
    fewer.ids, fewer.expressions, fewer.valid = fewer.ids[1:], fewer.expressions[1:], fewer.valid[1:]
    path = fewer.write(tmp_path / "fewer.h5", cam=fewer.heatmaps[1:], attention_5=fewer.heatmaps[1:])
    with pytest.raises(UserError, match="different faces"):
        read_pair(plain, path)
    deep = Constructed(make_card(guidance__layers=[4]))
    path = deep.write(tmp_path / "deep.h5", attention_4=deep.heatmaps)
    with pytest.raises(UserError, match="no attention of layer 4"):
        read_pair(plain, path)


def test_faces_have_their_own_image_and_cosines(pair: RunPair) -> None:
    rows = [int(np.flatnonzero(pair.au.valid)[0]), int(np.flatnonzero(pair.au.expressions == Expression.NEUTRAL)[0])]
    face, neutral = pair.faces(rows)
    assert face.image.shape == (224, 224, 3)
    assert face.cosines["cam_au"] == pytest.approx(1, abs=1e-3)
    heatmap = face.maps["heatmap"]
    assert face.cosines["cam_plain"] == pytest.approx(heatmap.sum() / (224 * np.sqrt((heatmap**2).sum())), abs=1e-3)
    assert face.maps["attention_au"].max() == 1
    assert "heatmap" not in neutral.maps
    assert neutral.cosines == {}
    assert aligned(pair.au, rows[::-1])[1].tobytes() == face.image.tobytes()


def test_overlay_by_hand() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    values = np.array([[0, 1], [2, 0.5]], np.float32)
    top = np.rint(0.4 * 100 + 0.6 * 255 * np.array(matplotlib.colormaps["viridis"](1.0)[:3]))
    found = overlay(image, values, "viridis")
    assert found[0, 1].tolist() == top.tolist()
    assert found[1, 0].tolist() == top.tolist()  # clipped to 1
    assert found[0, 0].tolist() != found[1, 1].tolist()


def command(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    run(module.main)


def test_panels_show_a_face_of_each_expression(pair: RunPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "panels"
    command(figures, monkeypatch, "panels", pair.plain.path, pair.au.path, "--out", out)
    found = numbers(out)
    assert found["expression"].tolist() == [one.label for one in SIX]
    assert found["cam_au_cosine"].min() > 0.99
    assert found.set_index("expression").loc["anger", "predicted_plain"] == "fear"
    drawn = {tuple(pair.au.ids[panels.sample(pair, seed)]) for seed in range(4)}
    assert tuple(found["id"]) in drawn
    assert len(drawn) > 1
    with pytest.raises(SystemExit, match="panels need two files"):
        command(figures, monkeypatch, "panels", pair.plain.path, "--out", out)


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


def test_gallery_holds_right_and_wrong_faces_of_every_class(
    pair: RunPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "gallery"
    out.mkdir(parents=True)
    (out / "old.jpg").touch()
    command(gallery, monkeypatch, pair.plain.path, pair.au.path, "--faces", 2, "--out", out)
    listed = json.loads((out / "gallery.json").read_text())
    assert [one["expression"] for one in listed] == [one.label for one in Expression for _ in range(2)]
    anger = [one for one in listed if one["expression"] == "anger"]
    assert {one["predicted_plain"] for one in anger} == {"fear"}
    assert not any(one["correct_plain"] for one in anger)
    named = {file for one in listed for file in one["files"].values()}
    assert {path.name for path in out.iterdir()} == {*named, "gallery.json"}
    face = next(one for one in listed if "heatmap" in one["files"])
    assert face["cosines"]["attention_au"] > 0.99
    assert 1 / 7 < face["probabilities"]["au"] < 1
    assert cv2.imread(str(out / face["files"]["cam_au"])).shape == (224, 224, 3)
    neutral = next(one for one in listed if one["expression"] == "neutral")
    assert "heatmap" not in neutral["files"]
    first = (out / "gallery.json").read_text()
    command(gallery, monkeypatch, pair.plain.path, pair.au.path, "--faces", 2, "--out", out)
    assert (out / "gallery.json").read_text() == first
    with pytest.raises(SystemExit, match="must be at least 1"):
        command(gallery, monkeypatch, pair.plain.path, pair.au.path, "--faces", 0, "--out", out)


def test_half_of_the_gallery_is_wrong_where_there_are_enough(make_card: MakeCard, tmp_path: Path) -> None:
    plain, au = Constructed(make_card(variant="plain", guidance__weight=0.0)), Constructed(make_card())
    one_wrong = plain.right()
    for expression in Expression:
        row = np.flatnonzero(plain.expressions == expression)[0]
        one_wrong[row] = np.eye(7, dtype=np.float32)[(expression + 1) % 7]
    plain.write(tmp_path / "p.h5", logits=one_wrong, attention_5=np.ones((21, 2, 2)))
    au.write(tmp_path / "a.h5", attention_5=np.ones((21, 2, 2)))
    pair = read_pair(tmp_path / "p.h5", tmp_path / "a.h5")
    rows = gallery.sample(pair, 2, seed=0)
    wrong = (pair.predicted["plain"] != pair.plain.expressions)[rows]
    assert wrong.reshape(7, 2).sum(1).tolist() == [1] * 7
    assert len(set(gallery.sample(pair, 8, seed=0))) == 21
    assert pair.kinds == ["attention"]


def test_a_changed_dataset_is_named(pair: RunPair) -> None:
    lost = read(pair.au.path)
    lost.ids[0] = "gone"
    with pytest.raises(UserError, match="no longer has gone"):
        aligned(lost, [0])
