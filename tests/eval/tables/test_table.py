"""Tables 1 and 2: rows, cells, notes and what is pending."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.records.runs import gather
from eval.tables import layout, table
from eval.tables.kinds import KINDS
from eval.tables.pivot import pivot
from pipeline.errors import UserError
from pipeline.plugins import names
from tests.support.scored import guided, scores
from tests.support.tables import rows_of, write


def test_table1_has_ours_the_papers_and_the_difference(runs: Path, tmp_path: Path) -> None:
    values = enumerate((0.86, 0.87, 0.88))
    files = [scores(runs, seed=seed, accuracy=value, protocol="paper") for seed, value in values]
    files.append(guided(runs, accuracy=0.885, cam_cosine=0.66, protocol="paper"))
    found = write("table1", files, tmp_path / "tables" / "table1").set_index(["metric", "variant"])
    plain, au = found.loc["accuracy", "plain"], found.loc["accuracy", "au"]
    assert (plain["value"], plain["sd"], plain["seeds"]) == pytest.approx((87.0, 1.0, 3))
    assert (plain["paper"], plain["difference"]) == (88.2, -1.2)
    assert (au["value"], au["seeds"], au["paper"]) == pytest.approx((88.5, 1, 88.95))
    assert np.isnan(au["sd"])
    assert au["difference"] == pytest.approx(-0.45)
    assert found.loc["cam_cosine", "au"]["difference"] == pytest.approx(-0.04)
    heading, _, ours, theirs, difference = rows_of((tmp_path / "tables" / "table1.md").read_text())
    assert heading[2] == "paper, CL (%) without AU"
    assert ours == ["CAM", "ours", "87.00 ± 1.00 (3)", "88.50 (1)", "0.50 ± 0.00 (3)", "0.66 (1)"]
    assert theirs == ["", "paper", "88.20", "88.95", "0.55", "0.70"]
    assert difference == ["", "difference", "-1.20", "-0.45", "-0.05", "-0.04"]


def test_tex_holds_the_same_cells(runs: Path, tmp_path: Path) -> None:
    files = [scores(runs, protocol="paper"), scores(runs, seed=1, protocol="paper"), guided(runs, protocol="paper")]
    write("table1", files, tmp_path / "t")
    tex = (tmp_path / "t.tex").read_text()
    assert r"CAM & ours & 80.00 $\pm$ 0.00 (2) & 80.00 (1) & 0.50 $\pm$ 0.00 (2) & 0.50 (1) \\" in tex
    assert r" & paper & 88.20 & 88.95 & 0.55 & 0.70 \\" in tex
    assert re.search(r"(?<!\\)[%_&]", tex.split(r"\begin{tabular}")[0]) is None
    assert r"& \shortstack{paper,\\CL (\%)\\without AU} &" in tex
    assert tex.count(r"\begin") == tex.count(r"\end") == 2


def test_table2_is_the_attention_of_the_guided_layer(runs: Path, tmp_path: Path) -> None:
    files = [make(runs, layers=chosen, protocol="paper") for make, chosen in ((scores, [4]), (guided, [4, 5]))]
    found = write("table2", files, tmp_path / "table2")
    found = found.set_index("variant")
    assert found["value"].to_dict() == pytest.approx({"plain": 0.1, "au": 0.6})
    assert found.loc["au", "difference"] == pytest.approx(0.6 - 0.85)
    assert found["layers"].to_dict() == {"plain": "4", "au": "5+4"}
    text = (tmp_path / "table2.md").read_text()
    assert "between 0.38 and 0.65 without AU and between 0.79 and 0.88 with AU" in text


def test_missing_runs_are_pending_and_keep_the_papers_number(runs: Path, tmp_path: Path) -> None:
    write("table1", [scores(runs, protocol="paper")], tmp_path / "t")
    _, _, ours, theirs, difference = rows_of((tmp_path / "t.md").read_text())
    assert ours[2:] == ["80.00 (1)", "pending", "0.50 (1)", "pending"]
    assert theirs[2:] == ["88.20", "88.95", "0.55", "0.70"]
    assert difference[2:] == ["-8.20", "n/a", "-0.05", "n/a"]
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
    assert "are neither training nor test faces; 387 test faces" in text
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
    files = [scores(runs, method=name, protocol="paper") for name in [*names("train.methods"), "mine"]]
    write("table1", files, tmp_path / "t")
    rows = rows_of((tmp_path / "t.md").read_text())
    shown = [row[0] for row in rows if row[1] == "ours"]
    assert [row[1] for row in rows[2:]] == [*["ours", "paper", "difference"] * 11, "ours"]  # the paper has no "mine"
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


def test_sixty_runs_are_quick(runs: Path, tmp_path: Path) -> None:
    files = [
        guided(runs, seed=seed, weight=weight, settings=str(weight)) for weight in range(1, 21) for seed in range(3)
    ]
    found = write("baselines", files, tmp_path / "t")
    assert len(found) == 20 * len(KINDS["baselines"].columns)
