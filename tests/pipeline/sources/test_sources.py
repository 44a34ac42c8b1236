"""What all sources promise, and the counts of the official releases."""

from collections import Counter

import pytest

from au_guidance.expressions import Expression
from pipeline import plugins
from pipeline.index import SPLITS
from pipeline.sources import affectnet, rafdb
from tests.support.datasets import refusal


@pytest.mark.parametrize("name", ["rafdb", "affectnet", "folder", "fer2013", "ferplus"])
def test_a_source_keeps_its_contract(name, tmp_path):
    assert name in plugins.names("pipeline.sources")
    source = plugins.load("pipeline.sources", name)
    assert "request" in source.LAYOUT
    assert all(split in SPLITS and isinstance(expression, Expression) for split, expression in source.EXPECTED)
    assert str(tmp_path) in refusal(source, tmp_path)


def test_helper_modules_are_no_sources():
    assert not [name for name in plugins.names("pipeline.sources") if name.startswith("_")]


def test_official_counts_are_those_of_the_releases():
    totals = Counter[str]()
    for (split, _), count in rafdb.EXPECTED.items():
        totals[split] += count
    assert totals == {"train": 12_271, "test": 3_068}
    assert rafdb.EXPECTED["train", Expression.FEAR] == 281
    assert rafdb.EXPECTED["test", Expression.HAPPINESS] == 1185
    assert sum(count for (split, _), count in affectnet.EXPECTED.items() if split == "train") == 283_901
    assert sum(count for (split, _), count in affectnet.EXPECTED.items() if split == "test") == 3_500
    assert affectnet.EXPECTED["train", Expression.SADNESS] == 25_459
    assert affectnet.EXPECTED["train", Expression.ANGER] == 24_882
