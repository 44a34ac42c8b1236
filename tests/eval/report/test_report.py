"""The report: what it says of claims, baselines and runs, what it withholds, and that names stay names."""

import html
import json
import os
import re
import sys

import pandas as pd
import pytest

from eval.records.runs import expected_runs, read_grid
from eval.report import claims, comparisons, gallery, runs, tables, trust
from eval.report.__main__ import main
from eval.report.page import build
from pipeline import errors
from pipeline.errors import UserError
from tests.support import reported

BASE = {("faces", "heldout", "cam"): (5.0, (5,), "own")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("results")
    reported.write(found)
    return found


@pytest.fixture(scope="module")
def page(folder):
    return build(folder / "grid.json", folder)


@pytest.fixture
def small(tmp_path):
    """One method and one seed, to be changed by a test."""
    reported.write(tmp_path, methods=("cam",), seeds=(0,))
    return tmp_path


def run_folder(folder, variant="au-w5-l5"):
    return folder / "runs" / "heldout" / "faces" / "cam" / variant / "seed0"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def row(**changes):
    return {
        "dataset": "faces", "protocol": "heldout", "method": "cam", "guidance": "λ 5, layer 5", "against": "plain",
        "seed": "0", "seeds": "1", "metric": "attention_cosine", "plain": "0.5", "guided": "0.8", "difference": "0.3",
        "low": "0.2", "high": "0.4", "p": "0.001", "p_holm": "0.01",
    } | changes  # fmt: skip


# --- the page as a whole


def test_nothing_comes_from_elsewhere(page):
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)[\w./]""", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_a_name_that_is_a_tag_stays_a_name(page):
    assert reported.EVIL not in page
    # an attribute's value, a class of the statuses, a face's id (also in its alt texts) and a value of the config
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert page.count("<script>") == 1


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_every_picture_has_a_text_in_its_place(page):
    pictures = re.findall(r"<img[^>]*>", page)
    texts = [re.search(r'alt="([^"]*)"', one)[1] for one in pictures]
    assert len(pictures) > 100
    assert all(texts)


def test_numbers_are_those_of_the_scores(page):
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    assert "10 of 10 runs are done" in " ".join(text.split())
    # 0.55 and 0.552 without AU, 0.88 and 0.882 with AU
    assert "0.551 → 0.881" in text


def test_the_command_writes_the_page_and_refuses_what_is_no_grid(folder, tmp_path, monkeypatch):
    def command(grid):
        arguments = ["report", "--grid", str(grid), "--results", str(folder), "--out", str(tmp_path / "report.html")]
        monkeypatch.setattr(sys, "argv", arguments)
        errors.run(main)

    command(folder / "grid.json")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(SystemExit, match=f"error: {wrong} is no grid"):
        command(wrong)


def test_a_grid_whose_run_says_too_little_is_refused(small):
    grid = json.loads((small / "grid.json").read_text())
    first = next(iter(grid["runs"]))
    del grid["runs"][first]["card"]
    (small / "grid.json").write_text(json.dumps(grid))
    with pytest.raises(UserError, match=f"{first} has no card"):
        build(small / "grid.json", small)


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
    page = build(small / "grid.json", small)
    assert "1 stale" in page
    assert "12.35" not in page
    assert "0.43" not in page
    assert 'class="number stale"' in page
    # its gallery and its figures are of the same old run
    assert 'class="face"' not in page
    assert (
        "heldout/faces/cam/au-w5-l5/seed0/panels.png" in page.partition("of runs that are stale, and so not shown")[2]
    )


def test_pictures_may_be_older_than_scores_but_not_than_predictions(small):
    folder, pictures = run_folder(small), small / "figures/heldout/faces/cam/au-w5-l5/seed0"
    (folder / "predictions.h5").touch()
    times = {folder / "predictions.h5": 100, folder / "scores.json": 300}
    for path, seconds in {**times, pictures / "panels.png": 200, pictures / "gallery/gallery.json": 200}.items():
        os.utime(path, (seconds, seconds))
    page = build(small / "grid.json", small)
    assert 'class="face"' in page
    assert "seed0/panels.png" not in page.partition("and so not shown")[2]
    os.utime(folder / "predictions.h5", (250, 250))
    page = build(small / "grid.json", small)
    assert 'class="face"' not in page
    assert "seed0/panels.png" in page.partition("and so not shown")[2]


def test_a_page_of_nothing_says_pending_everywhere(tmp_path):
    reported.write(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    page = build(tmp_path / "full" / "grid.json", tmp_path / "empty")
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


def test_damaged_pictures_are_named_and_left_out(small):
    figures = small / "figures"
    (figures / "table1" / "baselines.png").write_bytes(b"no picture")
    (figures / "heldout/faces/cam/au-w5-l5/seed0/gallery/gallery.json").write_text("[{}]")
    page = build(small / "grid.json", small)
    assert "table1/baselines.png" in page.partition("damaged, or of runs that are stale")[2]
    assert "Older than its runs or damaged, and so not shown: CAM, faces (heldout)" in page


def test_a_heavy_gallery_keeps_as_many_faces_of_every_class():
    picture = ("CAM", "text", "x" * 100, "")
    faces = [
        gallery.Face(f"{n}", name, "run", "", "", True, True, [picture]) for name in ("fear", "anger") for n in "123"
    ]
    kept = gallery.fitting(faces, 450)  # four pictures of 100 fit
    assert [(face.expression, face.name) for face in kept] == [
        ("fear", "1"),
        ("fear", "2"),
        ("anger", "1"),
        ("anger", "2"),
    ]
    assert gallery.fitting(faces, 10_000) == faces


# --- claims


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "held"),
        ({"low": "-0.1"}, "unshown"),
        ({"p_holm": "0.05"}, "unshown"),
        ({"low": "-0.4", "high": "-0.2"}, "contradicted"),
        ({"low": "0"}, "unshown"),
    ],
)
def test_a_rise_holds_if_interval_and_p_say_so(changes, expected):
    (found,) = claims.rises([row(**changes)], "attention_cosine")
    assert found.verdict == expected
    assert found.levels == "0.500 → 0.800"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [("-0.9", "2", "held"), ("-1.1", "2", "unshown"), ("-0.9", "-0.1", "contradicted"), ("0.1", "2", "held")],
)
def test_accuracy_may_lose_less_than_a_point(low, high, expected):
    (found,) = claims.unharmed([row(metric="accuracy", low=low, high=high)])
    assert found.verdict == expected


def test_a_control_is_another_comparison_than_plain():
    rows = [row(), row(against="shuffled", low="-0.1")]
    assert [one.verdict for one in claims.rises(rows, "attention_cosine")] == ["held"]
    assert [one.verdict for one in claims.rises(rows, "attention_cosine", "shuffled")] == ["unshown"]


def test_only_the_mean_over_seeds_of_the_base_setting_counts():
    rows = [
        row(seed="0"), row(seed="1"), row(seed="mean", seeds="2", guided="0.9"),
        row(guidance="λ 1, layer 5"), row(seed="mean", seeds="2", guided="0.7"),
    ]  # fmt: skip
    (found,) = comparisons.chosen(pd.DataFrame(rows), BASE)
    assert (found["seed"], found["guided"]) == ("mean", "0.9")


def test_verdicts_are_put_together():
    held, unshown = (claims.rises([row(low=low)], "attention_cosine")[0] for low in ("0.1", "-0.1"))
    assert claims.verdict([held, held], 2) == "held"
    assert claims.verdict([held, unshown], 2) == "partly"
    assert claims.verdict([unshown], 2) == "unshown"
    assert claims.verdict([], 2) == "pending"
    assert claims.verdict([], 0) == "untested"
    assert "1 more" in claims.sentence([held], 2)


def test_claims_of_the_made_up_runs(folder):
    grid = read_grid(folder / "grid.json")
    found = expected_runs(grid, folder)
    base = runs.base(grid, found)
    assert base == {**BASE, ("faces", "heldout", "wildcat"): (5.0, (5,), "own")}
    compared = [comparisons.of_experiment(name, _of(grid, found, name), folder)[0] for name in ("table1", "controls")]
    rows = comparisons.chosen(pd.concat(compared), base)
    judged = {one.name: one for one in (*claims.paper(rows, found, base), *trust.checks(rows, found, base))}
    assert {name: one.verdict for name, one in judged.items()} == {
        "attention": "held", "cam": "held", "accuracy": "held", "generic": "held", "time": "held",
        "controls": "held", "baseline": "held", "apart": "held",
    }  # fmt: skip
    assert [one.levels for one in judged["time"].evidence] == ["10.0 s → 12.0 s"] * 2  # medians, not the first epoch
    assert judged["time"].evidence[0].change == "+20 %"
    assert judged["controls"].evidence[0].what.endswith("against shuffled classes")


def _of(grid, found, name):
    return [one for one in found if one.name in grid["experiments"][name]["runs"]]


def test_slow_guidance_is_not_cheap(small):
    history = run_folder(small) / "history.csv"
    history.write_text("epoch,seconds\n1,13.6\n")  # 10 s without AU, and 107 / 79 = 1.354
    found = {one.name: one for one in _claims(small)}
    assert found["time"].verdict == "contradicted"
    assert found["generic"].verdict == "untested"


def _claims(folder):
    grid = read_grid(folder / "grid.json")
    found = expected_runs(grid, folder)
    return claims.paper([], found, runs.base(grid, found))


def test_a_run_whose_faces_are_not_there_cannot_be_compared(small):
    (run_folder(small) / "images.csv").unlink()
    grid = read_grid(small / "grid.json")
    frame, remarks = comparisons.of_experiment("table1", _of(grid, expected_runs(grid, small), "table1"), small)
    assert frame.empty
    assert remarks[0].startswith("Cannot be made:")
    assert "images.csv does not exist" in remarks[0]


# --- how far to trust it


def test_a_ladder_goes_up_from_baseline_to_ceiling(folder):
    grid = read_grid(folder / "grid.json")
    found = expected_runs(grid, folder)
    ladder = next(one for one in trust.ladders(found, runs.base(grid, found)) if one.map == "ATT-COS")
    steps = [(step.label, step.text, step.kind) for step in ladder.steps]
    assert steps[0] == ("uniform map", "0.440", "baseline")
    assert steps[-1] == ("mean of true class", "0.970", "baseline")
    named = [step for step in steps if step[2] not in ("baseline", "ceiling")]
    assert named == [
        ("network without AU", "0.551", "plain"),
        ("guided by: shuffled classes", "0.701", "control"),
        ("network with AU", "0.881", "au"),
    ]
    assert "untrained network" not in [step[0] for step in steps]  # its baseline is null


def test_the_number_of_faces_says_how_sure_an_accuracy_can_be(folder):
    (said,) = trust.faces_behind(expected_runs(read_grid(folder / "grid.json"), folder))
    assert "56 test faces, 48 with an AU map" in said
    assert "a CL of 75 % by about ±11.3 points" in said  # 1.96 sqrt(0.75 * 0.25 / 56) = 0.1134
    assert "fear, has 7 faces" in said


def test_data_quality_puts_splits_together_and_compares_with_the_official_counts(page):
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "disgust (80) 25.0 %" in text
    assert "14 of 14 counts differ from the official release" in text
