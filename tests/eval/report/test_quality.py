"""The quality of a dataset as the report shows it."""

import html
import re


def test_data_quality_puts_splits_together_and_compares_with_the_official_counts(page):
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "disgust (80) 25.0 %" in text
    assert "Landmarks: disgust 75 %, neutral 100 %: AU maps are missing unevenly, so AU guidance is trained" in text
    assert "Of 20 test images, 4 have a face that the detector found only at a lowered threshold or FaceMesh" in text
    assert "14 of 14 counts differ from the official release" in text
