"""The documentation states the numbers, labels and statuses of the code."""

import re

import numpy as np
import torch

from au_guidance.expressions import Expression
from au_guidance.heatmap import geometry_table
from eval.faithfulness.road import FRACTIONS
from eval.metrics.baselines import BASELINES, PREFIX
from eval.metrics.localisation import localisation
from eval.tables.kinds import HEADINGS, KINDS
from pipeline.detectors._mediapipe import MESH_68
from pipeline.detectors.blaze import LOW_THRESHOLD, STEPS
from pipeline.sources._affectnet_labels import EXPRESSIONS as AFFECTNET
from pipeline.sources._affectnet_labels import OTHERS
from pipeline.sources.affectnet import EXPECTED as AFFECTNET_COUNTS
from pipeline.sources.rafdb import EXPECTED as RAFDB_COUNTS
from pipeline.sources.rafdb import EXPRESSIONS as RAFDB
from pipeline.status import FACES, LANDMARKS
from tests.support.pages import folded, page, rows
from tests.support.paths import ROOT

# --- the numbers


def test_every_number_of_a_table_is_explained_under_its_heading():
    explained = {row[0].strip("`"): row[1] for row in rows(page("metrics")) if row[0].startswith("`")}
    for name, heading in HEADINGS.items():
        assert explained.get(name) == heading, name
    shown = {metric for kind in KINDS.values() for _, metric in kind.columns}
    assert shown <= explained.keys()


def test_the_points_of_the_mesh_are_those_of_the_code():
    listed = [row for row in rows(page("metrics")) if re.fullmatch(r"\d+–\d+", row[1])]
    points = [(row[1], row[2].split(", ")) for row in listed]
    assert [int(point) for _, region in points for point in region] == MESH_68.tolist()
    start = 0
    for numbers, region in points:
        assert numbers == f"{start}–{start + len(region) - 1}"
        start += len(region)


def test_baselines_are_described_as_in_the_code():
    described = {row[0].strip("`"): row[1:] for row in rows(page("metrics")) if row[0].startswith(f"`{PREFIX}")}
    assert described.keys() == {PREFIX + name for name in BASELINES}
    for name, baseline in BASELINES.items():
        label, said, knows = described[PREFIX + name]
        assert (label, re.sub(r" \(about .*\)$", "", said), knows) == (baseline.label, baseline.map, baseline.knows)


def test_a_constant_map_scores_what_the_page_says():
    stated = {row[0].strip("`"): row[4] for row in rows(page("metrics")) if len(row) == 6}
    heatmap = torch.zeros(1, 20, 20)
    heatmap[:, 3:9, 5:12] = 1
    share = float(heatmap.mean())
    formulas = {"K / pixels": share, "k / (2 − k), k = K / pixels": share / (2 - share)}
    scores = localisation(torch.full((1, 20, 20), 0.3), heatmap)
    assert len(scores) == 8
    for name, value in scores.items():
        expected = formulas[stated[name]] if stated[name] in formulas else float(stated[name])
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)


def test_chance_levels_are_those_of_the_formulas():
    text = page("metrics")
    assert f"{np.log(7):.3f} (ln 7)" in text
    assert f"{6 / 7:.3f} (6/7)" in text
    assert f"{100 / 7:.1f} (1/7)" in text
    assert f"{100 / 6:.1f} (1/6)" in text
    assert (min(FRACTIONS), max(FRACTIONS)) == (0.1, 0.9)
    assert "while 10 to 90 % of the pixels" in text


def test_levels_on_real_faces_are_those_that_the_project_states():
    readme = folded((ROOT / "README.md").read_text(encoding="utf-8"))
    for number in ("0.655 → 0.888", "-0.633 → 0.472", "reaches about 0.78"):
        assert number in readme, f"README no longer states {number}; update docs/explain.md too"
    text = folded(page("explain"))
    assert "0.655 and a skill of −0.633" in text
    assert "0.888 and 0.472" in text
    assert "about 0.78" in text


# --- labels, layouts, statuses


def test_label_orders_are_those_of_the_code():
    orders = {row[0]: row[1:] for row in rows(page("faq")) if len(row) == 9}
    titles = {value: value.label.capitalize() for value in Expression}
    rafdb = [titles[RAFDB[number]] if number in RAFDB else "" for number in range(8)]
    affectnet = [titles[AFFECTNET[number]] if number in AFFECTNET else OTHERS[number] for number in range(8)]
    assert orders["RAF-DB"] == rafdb
    assert orders["AffectNet"] == affectnet
    own = next(cells for name, cells in orders.items() if name.startswith("this project"))
    assert own == [*(titles[Expression(number)] for number in range(7)), ""]
    for number in (8, 9, 10):
        assert f"{number} {OTHERS[number]}" in folded(page("faq"))


def test_every_status_is_explained():
    explained = [row[0].strip("`") for row in rows(page("faq")) if row[0].startswith("`")]
    assert explained[: len(FACES)] == list(FACES)
    assert explained[len(FACES) : len(FACES) + len(LANDMARKS)] == list(LANDMARKS)


def test_every_step_of_the_default_detector_is_explained():
    steps = ["tight", *(step.name for step in (*STEPS, LOW_THRESHOLD)), "box", "whole_image"]
    table = page("faq").partition("| step |")[2].partition("\n\n")[0]
    explained = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert [name for names in explained for name in names] == steps


def test_layouts_and_counts_are_those_of_the_sources():
    text = folded(page("faq"))
    assert "basic/EmoLabel/list_patition_label.txt spelt so" in text
    for counts, numbers in ((RAFDB_COUNTS, "12,271 3,068"), (AFFECTNET_COUNTS, "283,901 3,500")):
        totals = [sum(count for (split, _), count in counts.items() if split == name) for name in ("train", "test")]
        assert [f"{total:,}" for total in totals] == numbers.split()
        assert "{} training and {} test faces".format(*numbers.split()) in folded(page("tutorial"))
    for part in (
        "train_set/images/0.jpg",
        "Manually_Annotated_file_lists/",
        "Manually_Annotated_Images/",
        "valid_set/",
    ):
        assert part in text


def test_the_aus_that_geometries_draw_are_named():
    drawn = {ellipse.au for ellipse in geometry_table("symmetric").ellipses}
    assert drawn == {ellipse.au for ellipse in geometry_table("published").ellipses}
    assert drawn == {1, 2, *range(4, 8), 9, 10, 12, *range(14, 18), 20, *range(23, 28), 43}
    assert "AU 1, 2, 4 to 7, 9, 10, 12, 14 to 17, 20, 23 to 27 and 43" in folded(page("extend"))
