"""The kinds of tables beside Tables 1 and 2 of the paper: their rows, metrics and numbers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.tables.kinds import KINDS
from eval.tables.pivot import COLUMNS
from tests.support.scored import guided, maps, scores
from tests.support.tables import rows_of, write


def test_lambda_has_a_row_per_weight_and_the_papers_peak(runs: Path, tmp_path: Path) -> None:
    weights = {10.0: 0.9, 0.01: 0.8, 4.0: 0.89}
    files = [guided(runs, weight=w, settings=str(w), accuracy=share, protocol="paper") for w, share in weights.items()]
    files.append(scores(runs, protocol="paper"))
    write("lambda", files, tmp_path / "lambda")
    rows = rows_of((tmp_path / "lambda.md").read_text())
    ours = [row for row in rows if row[2] == "ours"]
    assert [row[1] for row in ours] == ["none", "λ 0.01, layer 5", "λ 4, layer 5", "λ 10, layer 5"]
    at = rows.index(ours[2])
    assert rows[at][3:] == ["89.00 (1)", "0.50 (1)", "0.60 (1)"]
    assert rows[at + 1][2:] == ["paper", "88.95", "0.70", "0.85"]
    assert rows[at + 2][2:] == ["difference", "+0.05", "-0.20", "-0.25"]
    assert rows[2 + 1][2:] == ["paper", "88.20", "0.55", "0.57"]
    assert rows[2 + 2][2:] == ["difference", "-8.20", "-0.05", "+0.03"]
    assert [row[2] for row in rows[2:]].count("paper") == 2  # the paper prints no number of the other lambdas


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
    files = [make(runs, macro_f1=f1, protocol="paper") for make, f1 in ((scores, 0.65), (guided, 0.7))]
    found = write("classification", files, tmp_path / "t")
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


def test_every_kind_has_headings_for_its_metrics(runs: Path, tmp_path: Path) -> None:
    for name in KINDS:
        found = write(name, [scores(runs, seed=len(list(runs.iterdir())), cam_cosine=None)], tmp_path / name)
        assert list(found.columns) == list(COLUMNS)
