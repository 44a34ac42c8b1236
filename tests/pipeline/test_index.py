"""The index lists each image once, with its shard, and counts what was found beside the official numbers."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import cv2
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from au_guidance.expressions import Expression
from pipeline import index, plugins
from pipeline.errors import UserError
from pipeline.sources.rafdb import EXPRESSIONS as RAFDB
from pipeline.types import Count, Sample
from tests.support.paths import ROOT

REPOSITORY = ROOT
ANGER, FEAR = Expression.ANGER, Expression.FEAR


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pipeline.index", *map(str, arguments)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def columns(path: Path) -> pandas.DataFrame:
    """The index as text, "" where something is unknown."""
    return pandas.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture
def own(tmp_path) -> Path:
    """Twelve pictures in class folders."""
    for split, count in (("train", 4), ("test", 2)):
        for name in ("happy", "sad"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            for number in range(count):
                image = np.full((8, 8, 3), number, np.uint8)
                cv2.imwrite(str(tmp_path / "own" / split / name / f"{number}.png"), image)
    return tmp_path / "own"


@pytest.fixture
def given_source(monkeypatch):
    """Let the index read samples that the test gives, as a source named `given`."""

    def use(samples: list[Sample], expected: dict[tuple[str, Expression], int] | None = None) -> None:
        source = SimpleNamespace(read=lambda root: iter(samples), EXPECTED=expected or {}, LAYOUT="any folder")
        monkeypatch.setattr(plugins, "load", lambda family, name: source)

    return use


def test_each_image_is_listed_once_with_its_shard(own, tmp_path):
    counts = index.build_index("folder", own, 3, tmp_path / "index.csv")
    table = columns(tmp_path / "index.csv")
    assert list(table.columns) == [
        "id", "path", "expression", "split", "shard", "shards", "identity", "box", "points5", "landmarks",
    ]  # fmt: skip
    assert len(table) == 12
    assert table.shard.tolist() == [str(crc32(name.encode()) % 3) for name in table.id]
    assert index.shard_count(tmp_path / "index.csv") == 3
    assert table.id[0] == "train/happy/0.png"
    assert table.expression.tolist() == ["happiness"] * 4 + ["sadness"] * 4 + ["happiness"] * 2 + ["sadness"] * 2
    assert {(count.split, count.expression): count.found for count in counts if count.found} == {
        ("train", Expression.HAPPINESS): 4,
        ("train", Expression.SADNESS): 4,
        ("test", Expression.HAPPINESS): 2,
        ("test", Expression.SADNESS): 2,
    }
    assert len(counts) == 14
    assert {count.expected for count in counts} == {None}


def test_shards_share_out_the_samples_in_order(own, tmp_path):
    path = tmp_path / "index.csv"
    index.build_index("folder", own, 3, path)
    whole = [sample.id for sample in index.read_samples(path)]
    parts = [[sample.id for sample in index.read_samples(path, shard)] for shard in range(3)]
    assert sorted(name for part in parts for name in part) == sorted(whole)
    assert all(part == [name for name in whole if name in part] for part in parts)


@given(name=st.text(st.characters(codec="utf-8"), min_size=1), shards=st.integers(1, 50))
def test_a_shard_depends_on_the_id_alone(name, shards):
    assert index.shard_of(name, shards) == crc32(name.encode()) % shards < shards


def test_samples_come_back_as_the_source_gave_them(given_source, tmp_path):
    rng = np.random.default_rng(0)
    full = Sample(
        id='a "quoted", name;\nNA',
        path="pictures/ä 1.jpg",
        expression=ANGER,
        split="train",
        box=np.array([-1.5, 2, 300.123456, 4e-5]),
        points5=rng.uniform(-10, 5000, (5, 2)),
        landmarks=rng.uniform(-10, 5000, (68, 2)),
        identity="NA",
        attributes={"gender": "female"},
    )
    bare = Sample(id="null", path="b.jpg", expression=FEAR, split="test", attributes={"age": "70+"})
    given_source([full, bare])
    index.build_index("given", tmp_path, 2, tmp_path / "index.csv")
    first, second = index.read_samples(tmp_path / "index.csv")
    assert [getattr(first, name) for name in ("id", "path", "expression", "split", "identity", "attributes")] == [
        full.id, full.path, ANGER, "train", "NA", {"gender": "female"},
    ]  # fmt: skip
    for name in ("box", "points5", "landmarks"):
        np.testing.assert_allclose(getattr(first, name), getattr(full, name), rtol=1e-7)
        assert getattr(second, name) is None
    assert (second.id, second.identity, second.attributes) == ("null", None, {"age": "70+"})
    table = columns(tmp_path / "index.csv")
    assert table.id.tolist() == [full.id, "null"]
    assert table.columns[7:9].tolist() == ["gender", "age"]
    assert table.gender.tolist() == ["female", ""]


def test_counts_are_compared_with_the_official_ones(given_source, tmp_path):
    samples = [Sample(str(number), f"{number}.jpg", ANGER, "train") for number in range(3)]
    samples.append(Sample("3", "3.jpg", Expression.NEUTRAL, "test"))
    expected = {("train", ANGER): 3, ("train", FEAR): 2, ("test", ANGER): 1}
    given_source(samples, expected)
    counts = index.build_index("given", tmp_path, 1, tmp_path / "index.csv")
    assert Count("train", ANGER, 3, 3) in counts
    assert Count("train", FEAR, 0, 2) in counts
    assert Count("test", FEAR, 0, None) in counts
    lines = index.counts_table(counts).splitlines()
    assert lines[0].split() == ["split", "expression", "found", "expected"]
    assert ["train", "anger", "3", "3"] in [line.split() for line in lines]
    assert ["train", "all", "3", "5"] in [line.split() for line in lines]
    assert ["test", "fear", "0", "-"] in [line.split() for line in lines]
    assert len({len(line) for line in lines}) == 1
    warning = index.describe_differences(counts)
    assert warning is not None
    assert "2 of 14 counts differ from the official release (train/test 3/1, official 5/1)" in warning
    assert index.describe_differences([Count("train", ANGER, 3, 3), Count("test", ANGER, 9, None)]) is None


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Sample("a", "b.jpg", ANGER, "train"), "b.jpg: the id 'a' occurs twice"),
        (Sample("b", "a.jpg", ANGER, "train"), "a.jpg: the path 'a.jpg' occurs twice"),
        (Sample("b", "b.jpg", ANGER, "val"), "b.jpg: the split 'val' is not one of train, validation, test"),
        (Sample("b\udcff", "b.jpg", ANGER, "test"), "its name is not UTF-8"),
    ],
)
def test_a_wrong_sample_is_refused_and_nothing_is_written(given_source, tmp_path, second, message):
    given_source([Sample("a", "a.jpg", ANGER, "train"), second])
    with pytest.raises(UserError, match=message):
        index.build_index("given", tmp_path, 1, tmp_path / "out" / "index.csv")
    assert not (tmp_path / "out").exists()


def test_an_empty_dataset_is_refused(given_source, tmp_path):
    given_source([])
    with pytest.raises(UserError, match="holds no images"):
        index.build_index("given", tmp_path, 1, tmp_path / "index.csv")
    assert not (tmp_path / "index.csv").exists()


@pytest.mark.parametrize(("split", "empty"), [("train", "test"), ("test", "train")])
def test_an_empty_split_is_refused(given_source, tmp_path, split, empty):
    given_source([Sample("a", "a.jpg", ANGER, split)])
    with pytest.raises(UserError, match=f"^{tmp_path} holds no images of the split '{empty}' that the source 'given'"):
        index.build_index("given", tmp_path, 1, tmp_path / "index.csv")
    assert not (tmp_path / "index.csv").exists()


def test_an_old_index_stays_whole_when_writing_fails(own, tmp_path, monkeypatch):
    path = tmp_path / "index.csv"
    index.build_index("folder", own, 1, path)
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        index.build_index("folder", own, 2, path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["index.csv", "own"]


def test_a_missing_or_foreign_index_is_named(tmp_path):
    with pytest.raises(UserError, match=r"index\.csv does not exist; build it"):
        index.read_samples(tmp_path / "index.csv")
    (tmp_path / "index.csv").write_text("id,path\n1,2\n")
    with pytest.raises(UserError, match="the column expression is missing"):
        index.read_samples(tmp_path / "index.csv")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "happiness",
            "joy",
            r"index\.csv, image train/happy/0\.png: unknown expression 'joy'; known: neutral, .*build",
        ),
        (",,,\n", ",1;2;3,,\n", r"index\.csv, image train/happy/0\.png: cannot reshape.*build it again"),
        ("train/happy/0.png", '"train/happy/0.png', r"\A[^\n]*index\.csv, image [^\n]*build it again[^\n]*\Z"),
    ],
)
def test_a_damaged_row_is_named_in_one_line(own, tmp_path, before, after, message):
    path = tmp_path / "index.csv"
    index.build_index("folder", own, 1, path)
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(UserError, match=message):
        index.read_samples(path)


def test_an_empty_shard_counts(given_source, tmp_path):
    given_source([Sample("a", "a.jpg", ANGER, "train"), Sample("b", "b.jpg", ANGER, "test")])
    index.build_index("given", tmp_path, 5, tmp_path / "index.csv")
    assert index.shard_count(tmp_path / "index.csv") == 5
    (tmp_path / "index.csv").write_text((tmp_path / "index.csv").read_text().replace(",5,", ",five,"))
    with pytest.raises(UserError, match="number of shards is 'five'"):
        index.shard_count(tmp_path / "index.csv")


@pytest.mark.parametrize(("source", "address"), [("rafdb", "whdeng.cn"), ("affectnet", "mohammadmahoor.com")])
def test_the_message_for_a_missing_dataset_says_all_that_helps(source, address, tmp_path):
    message = index.missing_root_message("mine", source, tmp_path / "absent")
    layout = plugins.load("pipeline.sources", source).LAYOUT
    for part in ("'mine'", source, str(tmp_path / "absent"), address, layout, "datasets.mine.root", "make demo"):
        assert part in message
    with pytest.raises(UserError) as caught:
        index.build_index(source, tmp_path / "absent", 1, tmp_path / "index.csv", "mine")
    assert str(caught.value) == message


def test_the_message_is_quick_to_make():
    code = (
        "import sys; from pathlib import Path; from pipeline.index import missing_root_message as message;"
        "[message('x', source, Path('x')) for source in ('rafdb', 'affectnet', 'folder', 'fer2013')];"
        "print([name for name in ('pandas', 'cv2', 'torch', 'PIL', 'h5py') if name in sys.modules])"
    )
    line = [sys.executable, "-c", code]
    assert subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_command_prints_notes_and_counts(own, tmp_path):
    (own / "train" / "happy" / "notes.txt").touch()
    out = tmp_path / "new" / "index.csv"
    done = command("--source", "folder", "--root", own, "--shards", 2, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "left out: 1 files in train/happy/ that are no images: notes.txt"
    assert ["train", "all", "8", "-"] in [line.split() for line in lines]
    assert len(index.read_samples(out)) == 12


def test_the_command_ends_with_one_message_on_a_mistake(tmp_path):
    def fails(*arguments: object) -> str:
        done = command(*arguments, "--out", tmp_path / "index.csv")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "did you mean 'rafdb'" in fails("--source", "raf_db", "--root", tmp_path, "--shards", 1)
    assert "datasets.faces.root" in fails("--source", "rafdb", "--root", "absent", "--shards", 1, "--dataset", "faces")
    assert "--shards: 0 is too few" in fails("--source", "rafdb", "--root", tmp_path, "--shards", 0)


def test_real_faces(real_faces, tmp_path):
    path = tmp_path / "index.csv"
    counts = index.build_index("rafdb", real_faces, 4, path)
    found = {(count.split, count.expression): (count.found, count.expected) for count in counts}
    train = {label: found["train", RAFDB[label]] for label in range(1, 8)}
    assert train == {
        1: (153, 1290), 2: (14, 281), 3: (85, 717), 4: (324, 4772), 5: (112, 1982), 6: (61, 705), 7: (299, 2524),
    }  # fmt: skip
    assert columns(path).shard.value_counts().min() > 300
    sample = next(sample for sample in index.read_samples(path) if sample.id == "train_00223")
    assert sample.box is not None
    assert sample.points5 is not None
    assert sample.box.tolist() == [50, 50, 308, 308]
    np.testing.assert_allclose(sample.points5[0], (119.166667, 146.333333), atol=1e-5)
    assert sample.attributes == {"gender": "unsure", "race": "caucasian", "age": "20-39"}
