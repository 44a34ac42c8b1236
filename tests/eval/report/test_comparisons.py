"""The report's comparisons: the table of the workflow if it is of these runs, else a comparison made anew."""

import json
import os

import pandas as pd
import pytest

from eval.compare.compare import write_comparison
from eval.records.runs import expected_runs, read_grid
from eval.report import comparisons
from tests.support import reported

CHANGED = 0.4321  # no run has this difference: it shows that the file was read


@pytest.fixture
def folder(tmp_path):
    """Two seeds of one method, and the comparison of the workflow with one number changed."""
    reported.write(tmp_path, methods=("cam",), seeds=(0, 1))
    path = tmp_path / "tables" / "controls-guidance.csv"
    path.parent.mkdir()
    write_comparison(runs(tmp_path), path.with_suffix(""))
    change(path, lambda table: table.assign(difference=table["difference"].where(table.index > 0, CHANGED)))
    return tmp_path


def runs(folder):
    grid = read_grid(folder / "grid.json")
    return [run for run in expected_runs(grid, folder) if run.name in grid["experiments"]["controls"]["runs"]]


def change(path, edit):
    edit(pd.read_csv(path)).to_csv(path, index=False)


def differences(folder):
    frame, _ = comparisons.of_experiment("controls", runs(folder), folder / "tables")
    return frame["difference"].tolist()


def test_the_table_of_these_very_runs_is_read(folder):
    frame, remarks = comparisons.of_experiment("controls", runs(folder), folder / "tables")
    assert frame["difference"][0] == CHANGED
    assert set(frame["seed"]) == {"0", "1", "mean"}
    assert remarks == list(comparisons.NOTES)
    anew, _ = comparisons.of_experiment("controls", runs(folder), folder / "elsewhere")
    pd.testing.assert_frame_equal(frame.drop(index=0), anew.drop(index=0), check_exact=True, check_dtype=False)


def test_the_table_of_a_run_that_is_stale_now_is_not_read(folder):
    path = next(run.path for run in runs(folder) if run.variant == "au")
    written = path.stat()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"card": "another"}))
    os.utime(path, (written.st_atime, written.st_mtime))
    assert CHANGED not in differences(folder)


@pytest.mark.parametrize("name", ["scores.json", "images.csv"])
def test_the_table_is_not_read_if_a_run_was_scored_after_it(folder, name):
    path = runs(folder)[0].folder / name
    seconds = (folder / "tables" / "controls-guidance.csv").stat().st_mtime + 1
    os.utime(path, (seconds, seconds))
    assert CHANGED not in differences(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda table: table[table["seed"] != "1"],
        lambda table: table.replace({"seed": {"1": "2"}}),
        lambda table: table[table["against"] == "plain"],
        lambda table: table.assign(guidance="λ 4, layer 5"),
        lambda table: table.drop(columns="seed_sd"),
        lambda table: table.iloc[:0],
    ],
)
def test_the_table_of_other_runs_is_not_read(folder, edit):
    change(folder / "tables" / "controls-guidance.csv", edit)
    found = differences(folder)
    assert CHANGED not in found
    assert len(found) > 10


def test_a_damaged_table_is_not_read(folder):
    (folder / "tables" / "controls-guidance.csv").write_bytes(b"\xff\x00")
    assert len(differences(folder)) > 10
