"""The quality of a dataset as the report shows it."""

import html
import re

from eval.records.runs import expected_runs, read_grid
from eval.report.trust import of_test_faces


def test_data_quality_puts_splits_together_and_compares_with_the_official_counts(page):
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "disgust (80) 25.0 %" in text
    assert "14 of 14 counts differ from the official release" in text


def test_the_number_of_faces_says_how_sure_an_accuracy_can_be(folder):
    (sentence,) = of_test_faces(expected_runs(read_grid(folder / "grid.json"), folder))
    assert "56 test faces, 48 with an AU map" in sentence
    assert "a CL of 75 % would vary by about ±11.3 points" in sentence  # 1.96 sqrt(0.75 * 0.25 / 56) = 0.1134
    assert "fear, has 7 faces" in sentence
