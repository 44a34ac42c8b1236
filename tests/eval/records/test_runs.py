"""Finished runs: gathered from files or a grid, and refused where they do not fit."""

import json
from pathlib import Path

import pytest

from eval.records.runs import gather, read_run
from eval.tables import table
from pipeline.errors import UserError
from tests.support.scored import grid, guided, scores
from tests.support.tables import rows_of


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


def test_broken_scores_files_are_named(tmp_path: Path) -> None:
    whole = json.loads(scores(tmp_path).read_text())
    contents = {
        "{": "is no scores file;",
        "[5]": "is no scores file;",
        '{"layers": [5]}': r"is no scores file \(it has no accuracy\);",
        json.dumps({**whole, "layers": [3]}): "has no attention_cosine of layer 3;",
        json.dumps(whole).replace('"baselines"', '"floors"'): r"is of an earlier version .* run python -m eval\.score",
    }
    for content, what in contents.items():
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UserError, match=rf"bad\.json {what}"):
            read_run(tmp_path / "bad.json")
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_run(tmp_path / "none.json")
