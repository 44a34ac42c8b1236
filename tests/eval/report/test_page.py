"""The report's page as a whole: nothing comes from elsewhere, and names stay names."""

import html
import json
import re
import sys

import pytest

from eval.report.__main__ import main
from eval.report.page import build_page
from pipeline import errors
from pipeline.errors import UserError
from tests.support import reported


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
        build_page(small / "grid.json", small)
