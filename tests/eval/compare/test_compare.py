import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from au_guidance.expressions import SIX, Expression
from eval import summary
from eval.compare import __main__ as compare_command
from eval.compare import compare
from eval.compare.pairs import load_per_face, pairs
from eval.records.runs import gather
from pipeline.errors import UserError, run
from tests.support.scored import grid, images, maps, scores
from tests.support.tables import rows_of

FACES = [one.label for one in Expression for _ in range(3)]  # 21; three of every class


SIXES = np.array([Expression.parse(name) in SIX for name in FACES])


def made(
    folder: Path,
    *,
    weight: float = 0.0,
    wrong: int = 0,
    cosines: Sequence[float] | float = 0.5,
    retrieved: int = 0,
    **changes: Any,
) -> Path:
    """Write a run: its first `wrong` answers are wrong, the first `retrieved` maps match their own class."""
    source = changes.get("map", "own")
    own = {"weight": weight, "variant": "au" if weight else "plain", "settings": f"{weight} {source}"}
    path = scores(folder, **{**own, "dataset": "small", **changes})
    levels = np.where(SIXES, np.broadcast_to(cosines, len(FACES)), np.nan)
    matched = np.where(SIXES, np.arange(len(FACES)) < retrieved + 3, np.nan)  # Neutral's three come first
    images(
        path,
        expressions=FACES,
        right=[int(row >= wrong) for row in range(len(FACES))],
        cam_cosine=levels,
        attention_cosine=levels,
        attention_cosine_5=levels,
        attention_cosine_4=levels / 2,
        cam_retrieval_true=matched,
        attention_retrieval_true=matched,
    )
    return path


def table(*files: Path) -> pd.DataFrame:
    return compare.compare([load_per_face(one) for one in gather(files)])


def test_comparison_by_hand(runs: Path) -> None:
    ramp = np.linspace(0.5, 0.7, len(FACES))
    found = table(made(runs, wrong=7), made(runs, weight=5, wrong=4, cosines=ramp, retrieved=9)).set_index("metric")
    accuracy = found.loc["accuracy"]
    assert (accuracy["plain"], accuracy["guided"]) == pytest.approx((100 * 14 / 21, 100 * 17 / 21))
    assert accuracy["difference"] == pytest.approx(100 * 3 / 21)
    # 3 of 21 faces change by 100 points; a resample holds Binomial(21, 1/7) of them: 0 to 6 in 95 % of cases.
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0, 600 / 21), abs=0.01)
    # All three changes go up, which random signs do in 2 of 8 cases (all up or all down).
    assert accuracy["p"] == pytest.approx(0.25, abs=0.02)
    # Three of every class: Neutral is 0 of 3 in both, Happiness 0 of 3 and 2 of 3, the seventh face is Surprise.
    balanced = found.loc["balanced_accuracy"]
    assert (balanced["plain"], balanced["guided"]) == pytest.approx((100 * (4 + 2 / 3) / 7, 100 * (5 + 2 / 3) / 7))
    cosine = found.loc["attention_cosine"]
    assert cosine["plain"] == pytest.approx(0.5)
    assert cosine["guided"] == pytest.approx(ramp[3:].mean())
    assert (cosine["images"], accuracy["images"]) == (18, 21)
    assert 0 < cosine["low"] < cosine["difference"] < cosine["high"]
    assert cosine["p"] == pytest.approx(1 / 10_001, abs=2e-4)
    retrieval = found.loc["cam_retrieval_true"]
    assert (retrieval["plain"], retrieval["guided"]) == pytest.approx((0, 50))


def test_skill_is_the_cosine_above_the_baseline_and_counts_once(runs: Path) -> None:
    found = table(made(runs), made(runs, weight=5, cosines=0.88)).set_index("metric")
    skill, cosine = found.loc["attention_skill"], found.loc["attention_cosine"]
    assert (skill["plain"], skill["guided"]) == pytest.approx(((0.5 - 0.76) / 0.24, 0.5))
    assert skill[["difference", "low", "high"]].tolist() == pytest.approx(
        (cosine[["difference", "low", "high"]] / 0.24).tolist()
    )
    assert (skill["p"], skill["p_holm"]) == (cosine["p"], cosine["p_holm"])
    # Six tests: accuracy and balanced accuracy (p = 1), two cosines, two retrievals (p = 1).
    assert cosine["p_holm"] == pytest.approx(6 * cosine["p"])


def test_controls_of_the_same_guidance_are_compared_with_the_own_map(runs: Path) -> None:
    files = [made(runs, wrong=6), made(runs, weight=5, wrong=1)]
    files += [made(runs, weight=5, map=name, wrong=wrong) for name, wrong in (("uniform", 3), ("shuffled", 4))]
    files += [made(runs, weight=9, map="uniform", settings="nine")]  # no own map with that weight
    found = table(*files)
    accuracy = found[found["metric"] == "accuracy"].set_index("against")["difference"]
    assert accuracy.to_dict() == pytest.approx({"plain": 500 / 21, "shuffled": 300 / 21, "uniform": 200 / 21})
    assert found["guidance"].unique().tolist() == ["λ 5, layer 5"]


def test_holm_is_over_the_means_and_over_single_seeds_apart(runs: Path) -> None:
    files = [made(runs, seed=seed) for seed in (0, 1)]
    files += [made(runs, seed=seed, weight=5, cosines=0.6) for seed in (0, 1)]
    found = table(*files)
    least = 1 / 10_001
    for seed, tests in (("mean", 6), ("0", 12), ("1", 12)):
        rows = found[(found["seed"] == seed) & (found["metric"] == "cam_cosine")]
        assert rows["p"].item() == pytest.approx(least, abs=2e-4)
        assert rows["p_holm"].item() == pytest.approx(tests * rows["p"].item(), rel=0.5)
    assert (found["p_holm"] <= 1).all()


def test_seeds_are_paired_and_their_mean_and_spread_added(runs: Path) -> None:
    files = [made(runs, seed=seed, wrong=seed) for seed in (0, 1, 2)]
    files += [made(runs, seed=seed, weight=5, cosines=0.6) for seed in (2, 1, 7)]
    found = table(*files)
    accuracy = found[found["metric"] == "accuracy"].set_index("seed")
    assert accuracy["difference"].to_dict() == pytest.approx({"1": 100 / 21, "2": 200 / 21, "mean": 150 / 21})
    assert accuracy.loc["mean", "seed_sd"] == pytest.approx(100 / 21 / 2**0.5)
    assert found[found["seed"] == "mean"]["seeds"].unique().tolist() == [2]


def test_weights_and_layers_keep_to_themselves(runs: Path) -> None:
    files = [made(runs, seed=seed, weight=w, wrong=int(w) + seed) for w in (0, 1, 5) for seed in (0, 1)]
    found = table(*reversed(files))
    accuracy = found[found["metric"] == "accuracy"].set_index(["guidance", "seed"])["difference"]
    for weight in (1, 5):
        for seed in ("0", "1", "mean"):
            assert accuracy[f"λ {weight}, layer 5", seed] == pytest.approx(-100 * weight / 21)


def test_attention_is_of_the_guided_layer_in_both(runs: Path) -> None:
    found = table(made(runs), made(runs, weight=5, layers=[4], cosines=0.8)).set_index("metric")
    assert found.loc["attention_cosine", ["plain", "guided"]].tolist() == pytest.approx([0.25, 0.4])
    assert "attention_retrieval_true" not in found.index  # the plain run's is of layer 5
    assert "cam_retrieval_true" in found.index


def test_method_without_cam_has_no_rows_of_it(runs: Path) -> None:
    files = [made(runs, cam_cosine=None), made(runs, weight=5, cam_cosine=None)]
    for path in files:
        table_of = pd.read_csv(path.with_name("images.csv"))
        table_of.drop(columns=["cam_cosine", "cam_retrieval_true"]).to_csv(path.with_name("images.csv"), index=False)
    assert not table(*files)["metric"].str.startswith("cam").any()


def test_comparison_refuses_what_cannot_be_compared(runs: Path) -> None:
    plain = made(runs)
    other = made(runs, weight=5, image_size=48)
    with pytest.raises(UserError, match="differ in image_size"):
        table(plain, other)
    with pytest.raises(UserError, match="the same run"):
        table(plain, plain)
    with pytest.raises(UserError, match="different configurations"):
        table(made(runs, method="prm"), made(runs, method="prm", seed=1, settings="old"),
              *(made(runs, method="prm", weight=5, seed=seed) for seed in (0, 1)))  # fmt: skip
    lines = plain.with_name("images.csv").read_text().splitlines()
    plain.with_name("images.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match="different faces"):
        table(plain, made(runs, weight=5))
    plain.with_name("images.csv").write_text("id\n1\n")
    with pytest.raises(UserError, match=r"images\.csv has no column correct"):
        table(plain)
    plain.with_name("images.csv").unlink()
    with pytest.raises(UserError, match=r"images\.csv does not exist"):
        table(plain)
    assert pairs([]) == []


def command(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    run(module.main)


def test_comparison_files_and_summary(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [made(runs, wrong=7), made(runs, weight=5, wrong=4, cosines=0.8, retrieved=9)]
    files.append(made(runs, weight=5, map="shuffled", wrong=5))
    out = tmp_path / "tables" / "table1-guidance"
    with pytest.raises(SystemExit, match="no guided run has its plain run or a control"):
        command(compare_command, monkeypatch, "--scores", files[0], "--out", out)
    expected = grid(tmp_path / "grid.json", *files)
    command(
        compare_command, monkeypatch, "--scores", *files, "--grid", expected, "--experiment", "table1", "--out", out
    )
    text = out.with_suffix(".md").read_text()
    assert text.strip() in capsys.readouterr().out
    first, *_ = rows_of(text)[2:]
    assert first[:8] == ["small", "CAM", "heldout", "λ 5, layer 5", "plain", "0", "CL (%)", "21"]
    assert first[8:10] == ["66.67 → 80.95", "+14.29 [+0.00, +28.57]"]
    assert r"66.67 $\rightarrow$ 80.95" in out.with_suffix(".tex").read_text()
    picture = tmp_path / "figures" / "seed0.png"
    picture.parent.mkdir()
    picture.touch()
    (tmp_path / "report.html").touch()
    command(summary, monkeypatch, tmp_path)
    said = capsys.readouterr().out
    assert "small, CAM, plain → λ 5, layer 5 (protocol heldout, seed 0):" in said
    assert "difference +14.29 [+0.00, +28.57] on 21 faces" in said
    assert "skill of the attention         -1.083 → 0.167" in said
    assert "  shuffled classes     CL (%) +4.76" in said
    assert f"  {picture}" in said.splitlines()
    assert f"  {tmp_path / 'tables' / 'table1-guidance.md'}" in said.splitlines()
    assert said.splitlines()[-1].endswith(str(tmp_path / "report.html"))


def test_summary_is_brief_about_sweeps_and_names_the_baselines(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval.tables import table as table_module

    files = [made(runs), made(runs, weight=1, cosines=0.6), made(runs, weight=5, cosines=0.8)]
    (tmp_path / "tables").mkdir()
    compare.write_comparison(gather(files), tmp_path / "tables" / "lambda-guidance")
    table_module.write_table("baselines", gather(files), tmp_path / "tables" / "lambda-baselines")
    said = summary.summary(tmp_path).splitlines()
    assert any(line.startswith("  λ 1, layer 5         CL (%) +0.00") for line in said)
    assert "small (protocol heldout), cosines of maps without a network: class-agnostic mean 0.760, " in "\n".join(said)


def test_summary_without_results_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the workflow first"):
        summary.summary(tmp_path)


def test_runs_of_another_configuration_are_left_out(runs: Path, tmp_path: Path) -> None:
    files = [made(runs), made(runs, weight=5)]
    expected = grid(tmp_path / "grid.json", *files)
    files[1].write_text(json.dumps(json.loads(files[1].read_text()) | {"card": "old"}))
    with pytest.raises(UserError, match="another configuration"):
        gather(files, grid=expected)
    with pytest.raises(UserError, match="no guided run"):
        compare.write_comparison(gather(files, grid=expected, so_far=True), tmp_path / "c")


def test_made_up_maps_have_every_metric() -> None:
    assert {"cosine", "skill", "baselines", "retrieval_true", "nss"} <= maps().keys()
