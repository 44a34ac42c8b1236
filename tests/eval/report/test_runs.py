"""Runs that are not there, or of another configuration, and what the page withholds of them."""

import json
import os
import re

from eval.records.runs import expected_runs, read_grid
from eval.report import tables
from eval.report.page import build_page
from tests.support import reported
from tests.support.reported import change, run_folder


# --- what is not there, or of another configuration
def states(folder):
    found = expected_runs(read_grid(folder / "grid.json"), folder)
    return {one.name.split("/")[3]: one.state for one in found}


def test_runs_are_done_pending_stale_or_damaged(small):
    change(run_folder(small) / "scores.json", card="another")
    (run_folder(small, "plain") / "scores.json").write_text("{")
    (run_folder(small, "au-w5-l5-shuffled") / "scores.json").unlink()
    assert states(small) == {"plain": "damaged", "au-w5-l5": "stale", "au-w5-l5-shuffled": "pending"}


def test_scores_that_do_not_say_their_card_are_stale(small):
    path = run_folder(small) / "scores.json"
    scores = json.loads(path.read_text())
    del scores["card"]
    path.write_text(json.dumps(scores))
    assert states(small)["au-w5-l5"] == "stale"


def test_no_number_of_a_stale_run_is_shown(small):
    change(run_folder(small) / "scores.json", card="another", accuracy=0.123456, cam_cosine=0.4321)
    page = build_page(small / "grid.json", small)
    assert "1 stale" in page
    assert "12.35" not in page
    assert "0.43" not in page
    assert 'class="number stale"' in page
    # its gallery and its figures are of the same old run
    assert 'class="face"' not in page
    assert "heldout/faces/cam/au-w5-l5/seed0/panels.png" in page.partition("or of stale runs:")[2]


def test_pictures_may_be_older_than_scores_but_not_than_predictions(small):
    folder, pictures = run_folder(small), small / "figures/heldout/faces/cam/au-w5-l5/seed0"
    (folder / "predictions.h5").touch()
    times = {folder / "predictions.h5": 100, folder / "scores.json": 300}
    for path, seconds in {**times, pictures / "panels.png": 200, pictures / "gallery/gallery.json": 200}.items():
        os.utime(path, (seconds, seconds))
    page = build_page(small / "grid.json", small)
    assert 'class="face"' in page
    assert "seed0/panels.png" not in page.partition("Not shown, because older than their runs")[2]
    os.utime(folder / "predictions.h5", (250, 250))
    page = build_page(small / "grid.json", small)
    assert 'class="face"' not in page
    assert "seed0/panels.png" in page.partition("Not shown, because older than their runs")[2]


def test_a_page_of_nothing_says_pending_everywhere(tmp_path):
    reported.write(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    page = build_page(tmp_path / "full" / "grid.json", tmp_path / "empty")
    assert "0 of 10 runs are done, 10 pending" in " ".join(re.sub(r"<[^>]+>", " ", page).split()).replace(" ,", ",")
    assert 'class="number pending"' in page
    assert "held</span>" not in page
    assert "Not prepared yet." in page


def test_a_table_with_some_seeds_says_how_many(tmp_path):
    reported.write(tmp_path, methods=("cam",), seeds=(0, 1))
    (tmp_path / "runs/heldout/faces/cam/au-w5-l5/seed1/scores.json").unlink()
    found = expected_runs(read_grid(tmp_path / "grid.json"), tmp_path)
    table = next(tables.of_experiment("table1", "table1", [one for one in found if "shuffled" not in one.name]))
    cells = [line[-1] for line in table.blocks[0].rows]
    assert [(cell.text, cell.state, cell.remark) for cell in cells] == [
        ("0.47 ± 0.00", "", "2 seeds"),
        ("0.80", "part", "1 of 2 seeds so far"),
    ]
