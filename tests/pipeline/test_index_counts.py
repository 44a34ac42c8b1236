"""What the index says about its counts: validation splits, copies without one, classes that are missing."""

from types import SimpleNamespace

import pytest

from au_guidance.expressions import Expression
from pipeline import index, plugins
from pipeline.types import Count, Sample
from tests.support.datasets import picture

ANGER, FEAR = Expression.ANGER, Expression.FEAR


@pytest.fixture
def given_source(monkeypatch):
    """Let the index read samples that the test gives, as a source named `given`."""

    def use(samples, expected=None):
        source = SimpleNamespace(read=lambda root: iter(samples), EXPECTED=expected or {}, LAYOUT="any folder")
        monkeypatch.setattr(plugins, "load", lambda family, name: source)

    return use


def test_a_validation_split_is_counted_and_its_absence_merges_the_official_counts(given_source, tmp_path):
    expected = {("train", ANGER): 2, ("validation", ANGER): 3, ("test", ANGER): 4}
    samples = [Sample(f"{n}", f"{n}.jpg", ANGER, split) for n, split in enumerate(["train"] * 2 + ["test"] * 7)]
    given_source(samples, expected)
    counts = index.build_index("given", tmp_path, 1, tmp_path / "index.csv")
    assert Count("test", ANGER, 7, 7) in counts
    assert {count.split for count in counts} == {"train", "test"}
    assert index.describe_differences(counts) is None
    given_source([*samples[:-1], Sample("8", "8.jpg", ANGER, "validation")], expected)
    counts = index.build_index("given", tmp_path, 1, tmp_path / "index.csv")
    assert [(count.split, count.found, count.expected) for count in counts if count.expected] == [
        ("train", 2, 2), ("validation", 1, 3), ("test", 6, 4),
    ]  # fmt: skip
    assert ["validation", "all", "1", "3"] in [line.split() for line in index.counts_table(counts).splitlines()]
    assert "(train/validation/test 2/1/6, official 2/3/4)" in index.describe_differences(counts)
    assert [sample.split for sample in index.read_samples(tmp_path / "index.csv")].count("validation") == 1


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder that the command reads."""
    line = ["index", "--source", "folder", "--root", tmp_path / "own", "--shards", 1, "--out", tmp_path / "index.csv"]
    monkeypatch.setattr("sys.argv", list(map(str, line)))
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("train", "test", "warnings"),
    [
        ("happy sad", "happy sad", []),
        ("happy sad", "happy", []),
        ("happy", "happy", ["warning: all images show happiness; with one class there is nothing to tell apart"]),
        (
            "happy",
            "happy sad angry",
            [
                f"warning: {label} is in the test split but not in the training split; no network can learn it"
                for label in ("anger", "sadness")
            ],
        ),
    ],
)
def test_classes_that_cannot_be_learned_are_warned_of(own, train, test, warnings, capsys):
    for split, names in (("train", train), ("test", test)):
        for name in names.split():
            picture(own / split / name / "1.jpg")
    index.main()
    assert [text for text in capsys.readouterr().out.splitlines() if text.startswith("warning")] == warnings
