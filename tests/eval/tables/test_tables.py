import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.records.runs import gather, read_run
from eval.tables import layout, paper, table
from eval.tables.kinds import KINDS
from eval.tables.pivot import COLUMNS, pivot
from pipeline.errors import UserError
from pipeline.plugins import names
from tests.support.scored import grid, guided, maps, scores


def write(name: str, files: list[Path], out: Path) -> pd.DataFrame:
    table.write_table(name, gather(files), out)
    return pd.read_csv(out.with_name(out.name + ".csv"))


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
    found = write("table1", files, tmp_path / "tables" / "table1").set_index(["metric", "variant"])
    plain, au = found.loc["accuracy", "plain"], found.loc["accuracy", "au"]
    assert (plain["value"], plain["sd"], plain["seeds"]) == pytest.approx((87.0, 1.0, 3))
    assert np.isnan(plain["paper"])
    assert np.isnan(plain["difference"])
    assert (au["value"], au["seeds"], au["paper"]) == pytest.approx((88.5, 1, 88.95))
    assert np.isnan(au["sd"])
    assert au["difference"] == pytest.approx(-0.45)
    assert found.loc["cam_cosine", "au"]["difference"] == pytest.approx(-0.04)
    heading, _, ours, theirs, difference = rows_of((tmp_path / "tables" / "table1.md").read_text())
    assert heading[2] == "heldout, CL (%) without AU"
    assert ours == ["CAM", "ours", "87.00 ± 1.00 (3)", "88.50 (1)", "0.50 ± 0.00 (3)", "0.66 (1)"]
    assert theirs == ["", "paper", "n/a", "88.95", "n/a", "0.70"]
    assert difference == ["", "difference", "n/a", "-0.45", "n/a", "-0.04"]


def test_tex_holds_the_same_cells(runs: Path, tmp_path: Path) -> None:
    write("table1", [scores(runs), scores(runs, seed=1), guided(runs)], tmp_path / "t")
    tex = (tmp_path / "t.tex").read_text()
    assert r"CAM & ours & 80.00 $\pm$ 0.00 (2) & 80.00 (1) & 0.50 $\pm$ 0.00 (2) & 0.50 (1) \\" in tex
    assert r" & paper & n/a & 88.95 & n/a & 0.70 \\" in tex
    assert re.search(r"(?<!\\)[%_&]", tex.split(r"\begin{tabular}")[0]) is None
    assert r"& \shortstack{heldout,\\CL (\%)\\without AU} &" in tex
    assert tex.count(r"\begin") == tex.count(r"\end") == 2


def test_table2_is_the_attention_of_the_guided_layer(runs: Path, tmp_path: Path) -> None:
    found = write("table2", [scores(runs, layers=[4]), guided(runs, layers=[4, 5])], tmp_path / "table2")
    found = found.set_index("variant")
    assert found["value"].to_dict() == pytest.approx({"plain": 0.1, "au": 0.6})
    assert found.loc["au", "difference"] == pytest.approx(0.6 - 0.85)
    assert found["layers"].to_dict() == {"plain": "4", "au": "5+4"}
    text = (tmp_path / "table2.md").read_text()
    assert "between 0.38 and 0.65 without AU and between 0.79 and 0.88 with AU" in text


def test_missing_runs_are_pending_and_keep_the_papers_number(runs: Path, tmp_path: Path) -> None:
    write("table1", [scores(runs)], tmp_path / "t")
    _, _, ours, theirs, difference = rows_of((tmp_path / "t.md").read_text())
    assert ours[2:] == ["80.00 (1)", "pending", "0.50 (1)", "pending"]
    assert theirs[2:] == ["n/a", "88.95", "n/a", "0.70"]
    assert difference[2:] == ["n/a"] * 4
    found = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False).set_index(["variant", "metric"])
    cell = found.loc[("au", "accuracy")][["value", "seeds", "state", "paper", "difference"]]
    assert cell.tolist() == ["", "0", "pending", "88.95", ""]


def test_method_without_cam_is_a_dash_and_nothing_else_is(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, cam_cosine=None), guided(runs)]
    write("table1", files, tmp_path / "t")
    _, _, ours, *rest = rows_of((tmp_path / "t.md").read_text())
    assert ours[4:] == ["--", "0.50 (1)"]
    assert not any(cell == "--" for row in rest for cell in row)
    write("baselines", files, tmp_path / "baselines")
    text = (tmp_path / "baselines.md").read_text()
    cam, attention = text.split("## rafdb: attention: cosine")[0], text.split("## rafdb: attention: cosine")[1]
    assert set(rows_of(cam)[2][4:]) == {"--"}
    assert "untrained" in attention
    assert rows_of(attention)[2][10] == "n/a"  # no untrained network was given
    assert "--" not in rows_of(attention)[2]


def test_dataset_that_the_paper_has_not_gets_no_paper_rows(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, dataset="synthetic", images=280), guided(runs, dataset="synthetic", images=280)]
    write("table1", files, tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert len(rows_of(text)) == 3
    assert "The paper has no numbers for synthetic." in text


def test_notes_state_protocol_and_when_faces_are_not_the_papers(runs: Path, tmp_path: Path) -> None:
    write("table1", [scores(runs, images=387), guided(runs, images=387)], tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert "protocol heldout: the best epoch is chosen on a held-out part of the training set; 387 test faces" in text
    assert "for 3068 test faces, not for these 387" in text
    assert "Neutral has no AUs" in text
    write("table1", [scores(runs, protocol="paper")], tmp_path / "p")
    text = (tmp_path / "p.md").read_text()
    assert "protocol paper: the best epoch is chosen on the test set" in text
    assert "not for these" not in text


def test_two_protocols_stand_side_by_side_and_datasets_below_each_other(runs: Path) -> None:
    files = [scores(runs, protocol=name) for name in ("heldout", "paper")] + [scores(runs, dataset="affectnet")]
    first, second = layout.blocks("table2", pivot("table2", gather(files)), {"rafdb", "affectnet"})
    assert (first.title, second.title) == ("affectnet", "rafdb")
    assert second.grid[0][2::2] == ["heldout,\nATT-COS\nwithout AU", "paper,\nATT-COS\nwithout AU"]
    sweep = layout.blocks("sweep", pivot("sweep", gather(files[:2])), set())[0]
    assert sweep.grid[0][2:5] == ["heldout,\nCL (%)", "heldout,\nCAM-COS", "heldout,\nATT-COS"]
    baselines = layout.blocks("baselines", pivot("baselines", gather(files[:2])), set())[0]
    assert [row[2] for row in baselines.grid] == ["protocol", "heldout", "paper"]


def test_methods_have_the_papers_order_and_names(runs: Path, tmp_path: Path) -> None:
    order = ["CAM", "WILDCAT", "GradCAM", "GradCAM++", "ACoL", "PRM", "ADL", "CutMix", "LayerCAM", "TS-CAM", "APViT"]
    files = [scores(runs, method=name) for name in [*names("train.methods"), "mine"]]
    write("table1", files, tmp_path / "t")
    shown = [row[0] for row in rows_of((tmp_path / "t.md").read_text())[2::3]]
    assert shown == [*order, "mine"]
    tex = (tmp_path / "t.tex").read_text()
    assert re.findall(r"^(\S+) & ours", tex, re.MULTILINE) == shown
    cells = {line.count(" & ") for line in tex.splitlines() if line.endswith(r"\\")}
    assert len(cells) == 1


def test_notes_name_the_methods_whose_attention_is_of_another_layer(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs), scores(runs, method="cutmix", layers=[4]), scores(runs, method="tscam", layers=[1, 4])]
    write("table2", files, tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert "ATT-COS is that of the deepest guided layer, 5 (CutMix: 4, TS-CAM: 4).\n" in text
    write("table2", files[:1], tmp_path / "t")
    assert "ATT-COS is that of the deepest guided layer, 5.\n" in (tmp_path / "t.md").read_text()


def test_lambda_has_a_row_per_weight_and_the_papers_peak(runs: Path, tmp_path: Path) -> None:
    files = [guided(runs, weight=10.0, settings="ten", accuracy=0.9), guided(runs, weight=0.01, settings="little")]
    files += [scores(runs), guided(runs, weight=4.0, settings="four", accuracy=0.89)]
    write("lambda", files, tmp_path / "lambda")
    rows = rows_of((tmp_path / "lambda.md").read_text())
    ours = [row for row in rows if row[2] == "ours"]
    assert [row[1] for row in ours] == ["none", "λ 0.01, layer 5", "λ 4, layer 5", "λ 10, layer 5"]
    at = rows.index(ours[2])
    assert rows[at][3:] == ["89.00 (1)", "0.50 (1)", "0.60 (1)"]
    assert rows[at + 1][2:] == ["paper", "88.95", "0.70", "0.85"]
    assert rows[at + 2][2:] == ["difference", "+0.05", "-0.20", "-0.25"]
    assert rows[2 + 1][2:] == ["paper", "n/a", "n/a", "n/a"]


def test_table3_has_the_papers_order_of_layer_sets(runs: Path, tmp_path: Path) -> None:
    sets = [[4, 5], [5], [1, 2, 3, 4, 5], [1], [5, 4, 3]]
    cosines = {str(layer): 0.5 for layer in range(1, 6)}
    files = [guided(runs, layers=one, settings=str(one), attention_cosine=cosines) for one in sets] + [scores(runs)]
    write("table3", files, tmp_path / "t")
    shown = [row[1] for row in rows_of((tmp_path / "t.md").read_text()) if row[2] == "ours"]
    assert shown == ["none", *(f"λ 5, layer {one}" for one in ("1", "5", "5+4", "5+4+3", "5+4+3+2+1"))]


def test_controls_follow_the_own_map(runs: Path, tmp_path: Path) -> None:
    files = [guided(runs, map=name, settings=name) for name in ("uniform", "shuffled", "own")] + [scores(runs)]
    write("baselines", files, tmp_path / "t")
    shown = [row[1] for row in rows_of((tmp_path / "t.md").read_text())[2:6]]
    assert shown == ["none", "λ 5, layer 5", "λ 5, layer 5, shuffled map", "λ 5, layer 5, uniform map"]
    found = write("table1", files, tmp_path / "t1")
    assert found["variant"].unique().tolist() == ["plain", "au", "shuffled", "uniform"]
    heading = rows_of((tmp_path / "t1.md").read_text())[0]
    assert heading[2:6] == [
        f"heldout, CL (%) {v}" for v in ("without AU", "with AU", "shuffled classes", "uniform map")
    ]


def test_baselines_table_has_baselines_skill_and_retrieval_by_hand(runs: Path, tmp_path: Path) -> None:
    values = [maps(cosine, retrieval_true=share) for cosine, share in ((0.88, 0.5), (0.82, 0.7))]
    files = [guided(runs, seed=seed, maps={"cam": one, "attention": one}) for seed, one in enumerate(values)]
    found = write("baselines", files, tmp_path / "t").set_index(["kind", "metric"])
    skill = found.loc["attention", "skill"]
    assert skill["value"] == pytest.approx((0.12 / 0.24 + 0.06 / 0.24) / 2)
    assert skill["sd"] == pytest.approx(0.25 / 2**0.5)
    assert found.loc["cam", "retrieval_true"]["value"] == pytest.approx(60)
    assert found.loc["cam", "baseline_class_mean"]["value"] == pytest.approx(0.97)
    row = rows_of((tmp_path / "t.md").read_text())[2]
    assert row[:6] == ["CAM", "λ 5, layer 5", "heldout", "2", "0.850 ± 0.042", "0.375 ± 0.177"]


def test_classification_has_the_papers_accuracy_only(runs: Path, tmp_path: Path) -> None:
    found = write("classification", [scores(runs), guided(runs, macro_f1=0.7)], tmp_path / "t")
    found = found[found["variant"] == "au"].set_index("metric")
    assert found["value"].to_dict() == pytest.approx(
        {"accuracy": 80, "balanced_accuracy": 70, "macro_f1": 0.7, "ece": 0.05, "nll": 0.7}
    )
    assert found["paper"].dropna().to_dict() == {"accuracy": 88.95}
    row = rows_of((tmp_path / "t.md").read_text())[2]
    assert (
        row[2:]
        == ["80.00 (1)"] * 2 + ["70.00 (1)"] * 2 + ["0.650 (1)", "0.700 (1)"] + ["0.050 (1)"] * 2 + ["0.700 (1)"] * 2
    )


def test_faithfulness_is_read_beside_the_scores(runs: Path, tmp_path: Path) -> None:
    done, bare = guided(runs), guided(runs, seed=1)
    values = {"deletion": 0.2, "insertion": 0.7, "road": 0.3}
    made = {
        "maps": {"cam": values, "attention": {**values, "deletion": 0.4}},
        "regions": {"full": 0.8, "au_kept": 0.6, "images": 256},
        "randomisation": [{"stage": "head", "cam": 0.5, "attention": 1.0}, {"stage": "layer1", "cam": 0.1}],
    }
    done.with_name("faithfulness.json").write_text(json.dumps(made))
    found = write("faithfulness", [done, bare], tmp_path / "t").set_index(["kind", "metric"])
    assert found.loc["attention", "deletion"]["value"] == 0.4
    assert found.loc["cam", "randomised"]["value"] == 0.1
    assert np.isnan(found.loc["attention", "randomised"]["value"])
    row = found[found.index.get_level_values("metric") == "au_kept"].iloc[0]
    assert (row["value"], row["seeds"], row["expected"], row["state"]) == (60, 1, 2, "partial")
    text = (tmp_path / "t.md").read_text()
    assert "| CAM | λ 5, layer 5 | heldout | 1 of 2 | 80.0 | 60.0 | n/a | n/a | n/a |" in text


def test_groups_have_intervals_and_failures(runs: Path, tmp_path: Path) -> None:
    def group(accuracy: float) -> dict[str, object]:
        bounds = {"accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.1}
        return {"images": 40, "accuracy": accuracy, **bounds, "cam_cosine": None, "attention_cosine": 0.6,
                "attention_cosine_low": 0.5, "attention_cosine_high": 0.7, "without_landmarks": 0.05}  # fmt: skip

    files = [guided(runs, seed=seed, groups={"gender": {"female": group(0.6 + seed / 5)}}) for seed in (0, 1)]
    found = write("groups", files, tmp_path / "t").set_index("metric")
    assert found.loc["accuracy", ["value", "low", "high", "images"]].tolist() == pytest.approx([70, 60, 80, 40])
    assert found.loc["without_landmarks", "value"] == 5
    row = rows_of((tmp_path / "t.md").read_text())[2]
    assert row == ["CAM", "λ 5, layer 5", "heldout", "gender: female", "40", "70.00 [60.00, 80.00]", "n/a",
                   "0.60 [0.50, 0.70]", "5.0 ± 0.0"]  # fmt: skip
    write("groups", [scores(runs)], tmp_path / "none")
    assert list(pd.read_csv(tmp_path / "none.csv").columns) == list(COLUMNS)


def test_time_is_the_median_epoch_and_the_ratio_beside_the_papers(runs: Path, tmp_path: Path) -> None:
    plain, au = scores(runs), guided(runs)
    for path, seconds in ((plain, [60, 10, 12]), (au, [15, 15, 90])):
        pd.DataFrame({"epoch": [1, 2, 3], "seconds": seconds}).to_csv(path.with_name("history.csv"), index=False)
    found = write("time", [plain, au], tmp_path / "t").set_index(["metric", "variant"])
    assert found["value"].to_dict() == pytest.approx(
        {("seconds_per_epoch", "plain"): 12, ("seconds_per_epoch", "au"): 15, ("time_ratio", "au"): 1.25}
    )
    assert found["paper"].tolist() == pytest.approx([79, 107, 107 / 79])
    ours, theirs = rows_of((tmp_path / "t.md").read_text())[2:4]
    assert ours[2:] == ["12.00 (1)", "15.00 (1)", "1.25 (1)"]
    assert theirs[2:] == ["79.00", "107.00", "1.35"]
    au.with_name("history.csv").unlink()
    found = write("time", [plain, au], tmp_path / "t").set_index(["metric", "variant"])
    assert found.loc["time_ratio", "au"]["state"] == "pending"


def test_grid_tells_pending_stale_and_partial(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs), guided(runs), guided(runs, method="prm")]
    made = grid(tmp_path / "grid.json", *files, more={"seed": 1})
    table.write_table("table2", gather(files[:1], grid=made), tmp_path / "t", complete=False)
    cells = [row for row in rows_of((tmp_path / "t.md").read_text()) if row[1] == "ours"]
    assert cells == [["CAM", "ours", "0.60 (1 of 2)", "pending"], ["PRM", "ours", "", "pending"]]
    old = json.loads(files[1].read_text()) | {"card": "another"}
    files[1].write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"scores\.json was made under another configuration than .*grid\.json"):
        gather(files, grid=made, experiment="table1")
    table.write_table("table2", gather(files, grid=made, so_far=True), tmp_path / "t", complete=False)
    text = (tmp_path / "t.md").read_text()
    assert [row[3] for row in rows_of(text) if row[1] == "ours"] == ["stale", "0.60 (1)"]
    assert "stale: made under another configuration, so not shown" in text


def test_grid_refuses_what_it_does_not_know(runs: Path, tmp_path: Path) -> None:
    made = grid(tmp_path / "grid.json", scores(runs))
    other = guided(runs)
    with pytest.raises(UserError, match="is of no run of table1"):
        gather([other], grid=made, experiment="table1")
    assert [one.state for one in gather([other], grid=made, so_far=True)] == ["pending"]
    with pytest.raises(UserError, match="no experiment 'lambda'; it has table1"):
        gather([], grid=made, experiment="lambda")
    made.write_text("{}")
    with pytest.raises(UserError, match=r"grid\.json is no grid \(it has no experiments\)"):
        gather([], grid=made)


def test_without_files_the_runs_below_the_grid_are_taken(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    path = scores(tmp_path / "runs")
    made = grid(tmp_path / "grid.json", path, more={"seed": 1})
    assert [(one.seed, one.state) for one in gather([], grid=made)] == [(0, "done"), (1, "pending")]


@pytest.mark.parametrize(("kind", "metric"), [("time", "seconds_per_epoch"), ("classification", "accuracy")])
def test_a_sweep_has_a_row_for_each_setting_in_every_table(runs: Path, kind: str, metric: str) -> None:
    """Several lambdas of one method would otherwise fall into one cell, beside a number of the paper that is of one."""
    there = [scores(runs), guided(runs), guided(runs, weight=9.0, settings="nine")]
    for number, path in enumerate(there, start=1):
        (path.parent / "history.csv").write_text(f"epoch,seconds\n1,{10.0 * number}\n")
    found = pivot(kind, table.with_extras(kind, gather(there)))
    rows = found[found["metric"] == metric]
    assert list(rows["guidance"]) == ["plain", "λ 5, layer 5", "λ 9, layer 5"]
    assert rows["paper"].isna().all()
    if kind == "time":
        assert list(rows["value"]) == [10, 20, 30]
        assert list(found.loc[found["metric"] == "time_ratio", "value"]) == [2, 3]
    (block,) = layout.blocks(kind, found, {"rafdb"})
    assert [row[1] for row in block.grid] == ["AU term", "none", "λ 5, layer 5", "λ 9, layer 5"]


def test_runs_of_different_configurations_never_mix(runs: Path) -> None:
    with pytest.raises(UserError, match="different configurations"):
        pivot("table1", gather([scores(runs), scores(runs, seed=1, settings="old")]))
    with pytest.raises(UserError, match="the same run"):
        gather([scores(runs), scores(runs)])
    with pytest.raises(UserError, match="different configurations"):
        pivot("table1", gather([guided(runs), guided(runs, weight=9.0, settings="nine", seed=1)]))


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
            read_run(tmp_path / "bad.json")
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_run(tmp_path / "none.json")


def test_every_number_of_the_paper_names_its_source() -> None:
    rows = paper.read(paper.PAPER)
    assert rows["source"].str.len().min() > 20
    assert set(rows["method"]) <= {"", *layout.METHODS}
    shares = rows[rows["metric"].str.contains("cosine")]["value"].astype(float)
    assert shares.between(0, 1).all()
    spans = [paper.span("table2", "attention_cosine", variant) for variant in ("plain", "au")]
    assert spans == [(0.38, 0.65), (0.79, 0.88)]


def test_mistakes_in_the_papers_numbers_are_named(tmp_path: Path) -> None:
    good = "table1,rafdb,prm,au,,,accuracy,88.1,somewhere in the paper"
    lines = {
        good.replace("table1", "table9"): "no table 'table9'; there are data, fig5, table1",
        good.replace("accuracy", "acuracy"): "no metric 'acuracy'",
        good.replace(",au,", ",AU,"): "plain or au, not 'AU'",
        good.replace("88.1", "88.1 %"): "'88.1 %' is no number",
        good.replace("somewhere in the paper", ""): "it has no source",
        f"{good}\n{good}": "line 3: the same number stands above",
    }
    path = tmp_path / "paper.csv"
    for line, problem in lines.items():
        path.write_text(f"{','.join(paper.COLUMNS)}\n{line}\n")
        with pytest.raises(UserError, match=problem):
            paper.read(path)
    path.write_text("table,value\n")
    with pytest.raises(UserError, match="must have the columns table, dataset"):
        paper.read(path)


def test_the_papers_number_of_a_layer_set_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "paper.csv"
    row = "table3,rafdb,cam,au,,5+4,accuracy,88.1,made up\ntable3,rafdb,cam,plain,,,accuracy,87.1,made up"
    path.write_text(f"{','.join(paper.COLUMNS)}\n{row}\n")
    monkeypatch.setattr(paper, "PAPER", path)
    paper.values.cache_clear()
    try:
        found = [
            paper.value("table3", "rafdb", "cam", variant=variant, metric="accuracy", weight=weight, layers=layers)
            for variant, weight, layers in (("au", 4.0, "5+4"), ("plain", 0.0, "5"), ("au", 4.0, "5"))
        ]
        assert found == [88.1, 87.1, None]
    finally:
        paper.values.cache_clear()


def test_every_kind_has_headings_for_its_metrics(runs: Path, tmp_path: Path) -> None:
    for name in KINDS:
        found = write(name, [scores(runs, seed=len(list(runs.iterdir())), cam_cosine=None)], tmp_path / name)
        assert list(found.columns) == list(COLUMNS)


def test_sixty_runs_are_quick(runs: Path, tmp_path: Path) -> None:
    files = [
        guided(runs, seed=seed, weight=weight, settings=str(weight)) for weight in range(1, 21) for seed in range(3)
    ]
    found = write("baselines", files, tmp_path / "t")
    assert len(found) == 20 * len(KINDS["baselines"].columns)
