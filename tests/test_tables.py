import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eval import compare, layout, maps, score, summary, table
from eval.predictions import read
from eval.score import write_scores
from pipeline.errors import UserError, run
from pipeline.expressions import SIX
from pipeline.plugins import names
from tests.constructed import Constructed
from train.config import Card

MakeCard = Callable[..., Card]


def scores(folder: Path, **changes: Any) -> Path:
    """Write the scores of a made-up run."""
    made = {
        "dataset": "rafdb",
        "method": "cam",
        "variant": "plain",
        "weight": 0.0,
        "layers": [5],
        "seed": 0,
        "protocol": "heldout",
        "settings": "same",
        "images": 3068,
        "images_with_map": 2388,
        "accuracy": 0.8,
        "cam_cosine": 0.5,
        "attention_cosine": {"4": 0.1, "5": 0.6},
    } | changes
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(made))
    return path


def guided(folder: Path, **changes: Any) -> Path:
    return scores(folder, **{"variant": "au", "weight": 5.0, "settings": "guided"} | changes)


def rows_of(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def test_table1_has_ours_the_papers_and_the_difference(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, seed=seed, accuracy=value) for seed, value in enumerate((0.86, 0.87, 0.88))]
    files.append(guided(runs, accuracy=0.885, cam_cosine=0.66))
    table.write_table("table1", files, tmp_path / "tables" / "table1")
    found = pd.read_csv(tmp_path / "tables" / "table1.csv").set_index(["metric", "variant"])
    plain, au = found.loc["accuracy", "plain"], found.loc["accuracy", "au"]
    assert (plain["value"], plain["sd"], plain["seeds"]) == pytest.approx((87.0, 1.0, 3))
    assert np.isnan(plain["paper"])
    assert np.isnan(plain["difference"])
    assert (au["value"], au["seeds"], au["paper"]) == pytest.approx((88.5, 1, 88.95))
    assert np.isnan(au["sd"])
    assert au["difference"] == pytest.approx(-0.45)
    assert found.loc["cam_cosine", "au"]["difference"] == pytest.approx(-0.04)
    heading, _, ours, paper, difference = rows_of((tmp_path / "tables" / "table1.md").read_text())
    assert heading[2] == "rafdb (heldout), CL (%) without AU"
    assert ours == ["CAM", "ours", "87.00 ± 1.00 (3)", "88.50 (1)", "0.50 ± 0.00 (3)", "0.66 (1)"]
    assert paper == ["", "paper", "n/a", "88.95", "n/a", "0.70"]
    assert difference == ["", "difference", "n/a", "-0.45", "n/a", "-0.04"]


def test_tex_holds_the_same_cells(runs: Path, tmp_path: Path) -> None:
    table.write_table("table1", [scores(runs), scores(runs, seed=1), guided(runs)], tmp_path / "t")
    tex = (tmp_path / "t.tex").read_text()
    assert r"CAM & ours & 80.00 $\pm$ 0.00 (2) & 80.00 (1) & 0.50 $\pm$ 0.00 (2) & 0.50 (1) \\" in tex
    assert r" & paper & n/a & 88.95 & n/a & 0.70 \\" in tex
    assert re.search(r"(?<!\\)[%_&]", tex.split(r"\begin{tabular}")[0]) is None
    assert r"& \shortstack{rafdb (heldout),\\CL (\%)\\without AU} &" in tex
    assert tex.count(r"\begin") == tex.count(r"\end") == 2


def test_table2_is_the_attention_of_the_guided_layer(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, layers=[4]), guided(runs, layers=[4, 5])]
    table.write_table("table2", files, tmp_path / "table2")
    found = pd.read_csv(tmp_path / "table2.csv").set_index("variant")
    assert found["value"].to_dict() == pytest.approx({"plain": 0.1, "au": 0.6})
    assert found.loc["au", "difference"] == pytest.approx(0.6 - 0.85)
    assert found["layers"].to_dict() == {"plain": "4", "au": "4+5"}


def test_missing_runs_are_pending_and_keep_the_papers_number(runs: Path, tmp_path: Path) -> None:
    table.write_table("table1", [scores(runs)], tmp_path / "t")
    _, _, ours, paper, difference = rows_of((tmp_path / "t.md").read_text())
    assert ours[2:] == ["80.00 (1)", "pending", "0.50 (1)", "pending"]
    assert paper[2:] == ["n/a", "88.95", "n/a", "0.70"]
    assert difference[2:] == ["n/a"] * 4
    found = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False).set_index(["variant", "metric"])
    assert found.loc[("au", "accuracy")][["value", "seeds", "paper", "difference"]].tolist() == ["", "0", "88.95", ""]


def test_method_without_cam_is_a_dash_and_nothing_else_is(runs: Path, tmp_path: Path) -> None:
    table.write_table("table1", [scores(runs, cam_cosine=None), guided(runs)], tmp_path / "t")
    _, _, ours, *rest = rows_of((tmp_path / "t.md").read_text())
    assert ours[4:] == ["--", "0.50 (1)"]
    assert not any(cell == "--" for row in rest for cell in row)


def test_dataset_that_the_paper_has_not_gets_no_paper_rows(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, dataset="synthetic", images=280), guided(runs, dataset="synthetic", images=280)]
    table.write_table("table1", files, tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert len(rows_of(text)) == 3
    assert "The paper has no numbers for synthetic." in text


def test_notes_state_protocol_and_when_faces_are_not_the_papers(runs: Path, tmp_path: Path) -> None:
    table.write_table("table1", [scores(runs, images=387), guided(runs, images=387)], tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert "protocol heldout: the best epoch is chosen on a held-out part of the training set; 387 test faces" in text
    assert "for 3068 test faces, not for these 387" in text
    assert "Neutral excluded" in text
    table.write_table("table1", [scores(runs, protocol="paper")], tmp_path / "p")
    text = (tmp_path / "p.md").read_text()
    assert "protocol paper: the best epoch is chosen on the test set" in text
    assert "not for these" not in text


def test_two_protocols_have_columns_of_their_own(runs: Path) -> None:
    found = table.pivot("table2", [table.read_scores(scores(runs, protocol=name)) for name in ("heldout", "paper")])
    heading = layout.beside_paper(found, {"rafdb"})[0]
    assert heading[2::2] == ["rafdb (heldout),\nATT-COS\nwithout AU", "rafdb (paper),\nATT-COS\nwithout AU"]


def test_methods_have_the_papers_order_and_names(runs: Path, tmp_path: Path) -> None:
    paper = ["CAM", "WILDCAT", "GradCAM", "GradCAM++", "ACoL", "PRM", "ADL", "CutMix", "LayerCAM", "TS-CAM", "APViT"]
    files = [scores(runs, method=name) for name in [*names("train.methods"), "mine"]]
    table.write_table("table1", files, tmp_path / "t")
    shown = [row[0] for row in rows_of((tmp_path / "t.md").read_text())[2::3]]
    assert shown == [*paper, "mine"]
    tex = (tmp_path / "t.tex").read_text()
    assert re.findall(r"^(\S+) & ours", tex, re.MULTILINE) == shown
    cells = {line.count(" & ") for line in tex.splitlines() if line.endswith(r"\\")}
    assert len(cells) == 1


def test_notes_name_the_methods_whose_attention_is_of_another_layer(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs), scores(runs, method="cutmix", layers=[4]), scores(runs, method="tscam", layers=[1, 4])]
    table.write_table("table2", files, tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert "ATT-COS is that of the deepest guided layer, 5 (CutMix: 4, TS-CAM: 4).\n" in text
    table.write_table("table2", files[:1], tmp_path / "t")
    assert "ATT-COS is that of the deepest guided layer, 5.\n" in (tmp_path / "t.md").read_text()


def test_sweep_has_a_row_per_weight_and_layer_set(runs: Path, tmp_path: Path) -> None:
    files = [guided(runs, weight=10.0, settings="ten", accuracy=0.9), guided(runs, weight=0.5, settings="half")]
    files += [scores(runs), guided(runs, layers=[4, 5], settings="two")]
    table.write_table("sweep", files, tmp_path / "sweep")
    rows = rows_of((tmp_path / "sweep.md").read_text())
    assert [row[1] for row in rows[2:]] == ["none", "λ 0.5, layer 5", "λ 5, layer 4+5", "λ 10, layer 5"]
    assert rows[5][2] == "90.00 (1)"


def test_runs_of_different_configurations_never_mix(runs: Path) -> None:
    def pivot(*files: Path) -> pd.DataFrame:
        return table.pivot("table1", [table.read_scores(path) for path in files])

    with pytest.raises(UserError, match="different configurations"):
        pivot(scores(runs), scores(runs, seed=1, settings="old"))
    with pytest.raises(UserError, match="the same run"):
        pivot(scores(runs), scores(runs))
    with pytest.raises(UserError, match="different configurations"):
        pivot(guided(runs), guided(runs, weight=9.0, settings="nine", seed=1))


def test_broken_scores_files_are_named(tmp_path: Path) -> None:
    whole = json.loads(scores(tmp_path).read_text())
    contents = {
        "{": "is no scores file;",
        "[5]": "is no scores file;",
        '{"layers": [5]}': r"is no scores file \(it has no accuracy\);",
        json.dumps({**whole, "layers": [3]}): "has no attention_cosine of layer 3;",
    }
    for content, what in contents.items():
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UserError, match=rf"bad\.json {what}"):
            table.read_scores(tmp_path / "bad.json")
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        table.read_scores(tmp_path / "none.json")


def test_every_number_of_the_paper_names_its_source() -> None:
    rows = pd.read_csv(table.PAPER, keep_default_na=False)
    assert rows["source"].str.len().min() > 20
    assert not rows.duplicated(["table", "dataset", "method", "variant", "metric"]).any()
    assert set(rows["table"]) <= {"data", *table.METRICS}
    shares = rows[rows["metric"].str.endswith("cosine")]["value"].astype(float)
    assert shares.between(0, 1).all()


@pytest.fixture
def predictions(make_card: MakeCard, tmp_path: Path) -> Callable[..., Path]:
    """Write made-up predictions of a run: the first `wrong` answers are wrong, `mix` of each map is the heatmap."""

    def write(*, seed: int = 0, weight: float = 0.0, wrong: int = 0, mix: float = 0.0, **changes: Any) -> Path:
        variant = "au" if weight else "plain"
        made = Constructed(make_card(variant=variant, seed=seed, guidance__weight=weight, **changes))
        noise = np.random.default_rng(seed).random(made.heatmaps.shape).astype(np.float32)
        maps = mix * made.heatmaps + (1 - mix) * noise
        path = tmp_path / f"{variant}{weight:g}-{seed}.h5"
        return made.write(path, logits=made.right(wrong), attention_5=maps, cam=maps)

    return write


def test_comparison_by_hand(predictions: Callable[..., Path], tmp_path: Path) -> None:
    files = [predictions(wrong=7), predictions(weight=5, wrong=4, mix=0.8)]
    found = compare.compare([compare.judge(read(path)) for path in files]).set_index("metric")
    accuracy = found.loc["accuracy"]
    assert (accuracy["plain"], accuracy["guided"]) == pytest.approx((100 * 14 / 21, 100 * 17 / 21))
    assert accuracy["difference"] == pytest.approx(100 * 3 / 21)
    assert accuracy["low"] <= accuracy["difference"] <= accuracy["high"]
    # 3 of 21 faces change by 100 points; a resample holds Binomial(21, 1/7) of them: 0 to 6 in 95 % of cases.
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0, 600 / 21), abs=0.01)
    for path in files:
        write_scores(path, path.with_suffix(".json"))
    before, after = (json.loads(path.with_suffix(".json").read_text()) for path in files)
    cosine = found.loc["attention_cosine_5"]
    assert cosine["plain"] == pytest.approx(before["attention_cosine"]["5"])
    assert cosine["guided"] == pytest.approx(after["attention_cosine"]["5"])
    assert cosine["low"] > 0.1
    assert found.loc["cam_cosine", "difference"] == pytest.approx(after["cam_cosine"] - before["cam_cosine"])
    assert cosine["images"] == before["images_with_map"]
    assert cosine["images"] < 3 * len(SIX)
    assert accuracy["images"] == 21


def test_comparison_pairs_seeds_and_adds_their_mean(predictions: Callable[..., Path]) -> None:
    files = [predictions(seed=seed, wrong=seed) for seed in (0, 1, 2)]
    files += [predictions(seed=seed, weight=5, wrong=0, mix=0.5) for seed in (2, 1, 7)]
    found = compare.compare([compare.judge(read(path)) for path in files])
    accuracy = found[found["metric"] == "accuracy"].set_index("seed")["difference"]
    assert accuracy.to_dict() == pytest.approx({"1": 100 / 21, "2": 200 / 21, "mean": 150 / 21})
    assert found[found["seed"] == "mean"]["seeds"].unique().tolist() == [2]


def test_comparison_tells_guidance_of_different_weight_apart(predictions: Callable[..., Path]) -> None:
    files = [predictions(), predictions(weight=5), predictions(weight=0.5, wrong=2)]
    found = compare.compare([compare.judge(read(path)) for path in files])
    accuracy = found[found["metric"] == "accuracy"].set_index("guidance")["difference"]
    assert accuracy.to_dict() == pytest.approx({"λ 0.5, layer 5": -200 / 21, "λ 5, layer 5": 0})


def test_several_weights_and_seeds_keep_to_themselves(predictions: Callable[..., Path]) -> None:
    files = [predictions(seed=seed, weight=weight, wrong=int(weight) + seed) for weight in (0, 1, 5) for seed in (0, 1)]
    found = compare.compare([compare.judge(read(path)) for path in reversed(files)])
    accuracy = found[found["metric"] == "accuracy"].set_index(["guidance", "seed"])["difference"]
    for weight in (1, 5):
        for seed in ("0", "1", "mean"):
            assert accuracy[f"λ {weight}, layer 5", seed] == pytest.approx(-100 * weight / 21)


def test_comparison_refuses_what_cannot_be_compared(predictions: Callable[..., Path]) -> None:
    plain = compare.judge(read(predictions()))
    other = compare.judge(read(predictions(weight=5, model__image_size=48)))
    with pytest.raises(UserError, match="differ in model"):
        compare.pairs([plain, other])
    with pytest.raises(UserError, match="the same run"):
        compare.pairs([plain, plain])
    summed, averaged = (compare.judge(read(predictions(weight=5, guidance__reduction=way))) for way in ("sum", "mean"))
    with pytest.raises(UserError, match="differ in guidance"):
        compare.compare([plain, summed, averaged])
    fewer = compare.Judged(plain.path, other.card, plain.ids[1:], plain.expressions[1:], {})
    with pytest.raises(UserError, match="different faces"):
        compare.pairs([plain, fewer])


def test_comparison_files_and_summary(predictions: Callable[..., Path], tmp_path: Path) -> None:
    files = [predictions(wrong=7), predictions(weight=5, wrong=4, mix=0.8)]
    with pytest.raises(UserError, match="no guided run has its plain run"):
        compare.write_comparison(files[:1], tmp_path / "tables" / "table1-guidance")
    text = compare.write_comparison(files, tmp_path / "tables" / "table1-guidance")
    assert (tmp_path / "tables" / "table1-guidance.md").read_text() == text
    accuracy = rows_of(text)[2]
    assert accuracy[:7] == ["small", "cam", "heldout", "λ 5, layer 5", "0", "CL (%)", "21"]
    assert accuracy[7:] == ["66.67 → 80.95", "+14.29 [+0.00, +28.57]"]
    picture = tmp_path / "figures" / "seed0.png"
    picture.parent.mkdir()
    picture.touch()
    said = summary.summary(tmp_path)
    assert "small, cam, plain → λ 5, layer 5 (protocol heldout, seed 0):" in said
    assert "difference +14.29 [+0.00, +28.57] on 21 faces" in said
    assert f"  {picture}" in said
    assert "tables/table1-guidance.md" in said


def test_summary_without_results_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the workflow first"):
        summary.summary(tmp_path)


def test_commands_make_everything_from_predictions(
    predictions: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, au = predictions(), predictions(weight=5, mix=0.5)

    def command(module: ModuleType, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        run(module.main)
        return capsys.readouterr().out

    for path in (plain, au):
        command(score, path, "--out", path.with_suffix(".json"))
        command(maps, path, "--out", path.with_suffix(""))
    command(maps, "compare", plain.with_suffix(".npz"), au.with_suffix(".npz"), "--out", tmp_path / "figures" / "seed0")
    files = [path.with_suffix(".json") for path in (plain, au)]
    command(table, "table1", "--scores", *files, "--out", tmp_path / "tables" / "table1")
    printed = command(compare, "--predictions", plain, au, "--out", tmp_path / "tables" / "table1-guidance")
    assert "+0.00 [+0.00, +0.00]" in printed
    said = command(summary, tmp_path)
    for name in ("tables/table1.md", "tables/table1-guidance.md", "figures/seed0.png"):
        assert f"  {tmp_path / name}" in said.splitlines()
    with pytest.raises(SystemExit) as stopped:
        command(score, tmp_path / "none.h5", "--out", tmp_path / "none.json")
    assert str(stopped.value).startswith("error: ")
    assert "none.h5 does not exist" in str(stopped.value)
    with pytest.raises(SystemExit):
        command(maps, plain, au, "--out", tmp_path / "x")
