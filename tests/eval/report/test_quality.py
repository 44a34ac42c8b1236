"""The quality of a dataset as the report shows it."""

import html
import re


def test_data_quality_puts_splits_together_and_compares_with_the_official_counts(page):
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "disgust (80) 25.0 %" in text
    assert "14 of 14 counts differ from the official release" in text
