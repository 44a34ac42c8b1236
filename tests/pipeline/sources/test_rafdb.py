"""RAF-DB in its true layout becomes samples with the right labels, boxes and points; all else is refused by name."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.sources import rafdb
from pipeline.sources.rafdb import EXPRESSIONS as RAFDB
from tests.support.datasets import by_id, picture, refusal, write


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


BOX = "1.500000 2.250000 18.000000 19.000000 \n"
FACE = "5.1\t6.2\n14.3\t6.4\n9.5\t10.6\n6.7\t14.8\n13.9\t14.0\n1\n2\n3\n"


@pytest.fixture
def raf(tmp_path) -> Path:
    base = tmp_path / "RAF-DB" / "basic"
    names = [f"train_{number:05d}" for number in range(1, 8)] + ["test_0001", "test_0002"]
    labels = [*range(1, 8), 4, 7]
    write(base / rafdb.LABEL_LIST, "".join(f"{name}.jpg {label}\n" for name, label in zip(names, labels, strict=True)))
    for name in names:
        picture(base / "Image" / "original" / f"{name}.jpg")
        write(base / "Annotation" / "boundingbox" / f"{name}_boundingbox.txt", BOX)
        write(base / "Annotation" / "manual" / f"{name}_manu_attri.txt", FACE)
    return base


def test_rafdb_labels_boxes_points_and_attributes(raf, caplog):
    samples = by_id(rafdb, raf.parent)
    assert {name: sample.expression.label for name, sample in samples.items()} == {
        "train_00001": "surprise",
        "train_00002": "fear",
        "train_00003": "disgust",
        "train_00004": "happiness",
        "train_00005": "sadness",
        "train_00006": "anger",
        "train_00007": "neutral",
        "test_0001": "happiness",
        "test_0002": "neutral",
    }
    assert [sample.split for sample in samples.values()] == ["train"] * 7 + ["test"] * 2
    sample = samples["test_0001"]
    assert sample.path == "basic/Image/original/test_0001.jpg"
    assert sample.box.tolist() == [1.5, 2.25, 18, 19]
    assert sample.points5.tolist() == [[5.1, 6.2], [14.3, 6.4], [9.5, 10.6], [6.7, 14.8], [13.9, 14.0]]
    assert sample.attributes == {"gender": "female", "race": "asian", "age": "40-69"}
    assert sample.identity is None
    assert sample.landmarks is None
    assert not caplog.messages


def test_rafdb_root_may_be_the_basic_folder_whatever_its_name(raf):
    renamed = raf.rename(raf.parent / "raf-basic")
    samples = by_id(rafdb, renamed)
    assert len(samples) == 9
    assert samples["test_0001"].path == "Image/original/test_0001.jpg"


def test_rafdb_list_from_windows(raf):
    lines = (raf / rafdb.LABEL_LIST).read_text().splitlines()
    write(raf / rafdb.LABEL_LIST, "\ufeff" + "".join(f"{line}  \r\n" for line in lines) + "\r\n \r\n")
    assert len(by_id(rafdb, raf)) == 9


@given(line=st.text(st.sampled_from("train_05.jpg 789-\t"), max_size=20))
def test_a_label_line_is_read_exactly_or_refused(line):
    try:
        name, expression = rafdb._label(line, "list.txt, line 7")
    except UserError as error:
        assert str(error).startswith("list.txt, line 7: ")  # noqa: PT017 (one of two allowed outcomes)
        return
    file, label = line.split()
    assert name == file.removesuffix(".jpg")
    assert RAFDB[int(label)] is expression


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00007.jpg 9", "line 7: label 9 is not one of 1..7; this looks like the compound set"),
        ("train_00007.jpg 0", "line 7: label 0 is not one of 1..7"),
        ("train_00007.jpg", "line 7: expected 'train_<number>.jpg <label>'"),
        ("train_00007.jpg happy", "line 7: expected"),
        ("picture.jpg 3", "line 7: expected"),
        ("train_00001.jpg 3", "line 7: train_00001 was listed before"),
    ],
)
def test_rafdb_refuses_a_wrong_line(raf, line, message):
    lines = (raf / rafdb.LABEL_LIST).read_text().splitlines()
    lines[6] = line
    write(raf / rafdb.LABEL_LIST, "\n".join(lines))
    assert message in refusal(rafdb, raf)


def test_rafdb_refuses_an_empty_or_missing_list(raf):
    write(raf / rafdb.LABEL_LIST, "\n")
    assert "lists no images" in refusal(rafdb, raf)
    (raf / rafdb.LABEL_LIST).unlink()
    assert "list_patition_label.txt" in refusal(rafdb, raf)


def test_rafdb_refuses_the_compound_set(raf):
    raf.rename(raf.parent / "compound")
    assert "only the compound set" in refusal(rafdb, raf.parent)


def test_rafdb_names_labelled_images_that_are_missing(raf):
    for name in ("train_00003", "test_0001"):
        (raf / "Image" / "original" / f"{name}.jpg").unlink()
    assert "2 of 9 labelled images are missing: train_00003, test_0001" in refusal(rafdb, raf)


def test_rafdb_names_images_without_a_label(raf, caplog):
    picture(raf / "Image" / "original" / "train_09999.jpg")
    assert "train_09999" not in by_id(rafdb, raf)
    assert caplog.messages == ["1 images without a label are left out: train_09999"]


def test_rafdb_without_annotations_says_so_and_reads_on(raf, caplog):
    (raf / "Annotation").rename(raf / "elsewhere")
    sample = by_id(rafdb, raf)["train_00001"]
    assert (sample.box, sample.points5, sample.attributes) == (None, None, {})
    assert caplog.messages == [
        "no Annotation/boundingbox: boxes are unknown",
        "no Annotation/manual: points, gender, race and age are unknown",
    ]


def test_rafdb_names_single_missing_annotations(raf, caplog):
    (raf / "Annotation" / "boundingbox" / "train_00002_boundingbox.txt").unlink()
    write(raf / "Annotation" / "boundingbox" / "train_00003_boundingbox.txt", "5 5 5 9\n")
    (raf / "Annotation" / "manual" / "test_0002_manu_attri.txt").unlink()
    samples = by_id(rafdb, raf)
    assert len(samples) == 9
    assert [name for name, sample in samples.items() if sample.box is None] == ["train_00002", "train_00003"]
    assert [name for name, sample in samples.items() if sample.points5 is None] == ["test_0002"]
    assert caplog.messages == [
        "2 images without a usable box, kept without: train_00002, train_00003",
        "1 images without usable points and attributes, kept without: test_0002",
    ]


@pytest.mark.parametrize("text", ["", "\n", "1 2 3\n", "1 2 nan 4\n", "1 2 x 4\n"])
def test_rafdb_names_a_damaged_box_as_it_does_a_missing_one(raf, caplog, text):
    write(raf / "Annotation" / "boundingbox" / "train_00001_boundingbox.txt", text)
    sample = by_id(rafdb, raf)["train_00001"]
    assert sample.box is None
    assert sample.attributes["gender"] == "female"
    assert caplog.messages == ["1 images without a usable box, kept without: train_00001"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 2\n",
        FACE.replace("14.3\t6.4", "14.3"),
        FACE.replace("14.3", "nan"),
        FACE.replace("\n3\n", "\n5\n"),
        FACE.replace("\n3\n", "\n"),
        f"{FACE}4\n",
    ],
)
def test_rafdb_names_damaged_points_and_attributes_as_it_does_missing_ones(raf, caplog, text):
    write(raf / "Annotation" / "manual" / "train_00001_manu_attri.txt", text)
    samples = by_id(rafdb, raf)
    assert (samples["train_00001"].points5, samples["train_00001"].attributes) == (None, {})
    assert samples["train_00001"].box.tolist() == [1.5, 2.25, 18, 19]
    assert len(samples) == 9
    assert caplog.messages == ["1 images without usable points and attributes, kept without: train_00001"]


def test_rafdb_aligned_crops_stand_in_for_missing_originals(raf, caplog):
    (raf / "Image" / "original").rename(raf / "Image" / "aligned")
    for path in list((raf / "Image" / "aligned").iterdir()):
        path.rename(path.with_name(f"{path.stem}_aligned.jpg"))
    sample = by_id(rafdb, raf)["train_00001"]
    assert sample.path == "Image/aligned/train_00001_aligned.jpg"
    assert sample.box is None
    assert sample.points5 is None  # they are in pixels of the original
    assert sample.attributes == {"gender": "female", "race": "asian", "age": "40-69", "image": "aligned"}
    assert caplog.messages == ["no Image/original: the 100-px crops of Image/aligned are used, without box and points"]


def test_rafdb_without_any_images(raf):
    (raf / "Image").rename(raf / "pictures")
    assert "neither Image/original nor Image/aligned" in refusal(rafdb, raf)


def test_real_faces(real_faces, caplog):
    samples = by_id(rafdb, real_faces)
    splits = Counter(sample.split for sample in samples.values())
    assert splits == {"train": 1048, "test": 387}
    test = Counter(sample.expression.label for sample in samples.values() if sample.split == "test")
    assert test == {
        "neutral": 96, "happiness": 103, "surprise": 37, "fear": 1, "anger": 58, "disgust": 26, "sadness": 66,
    }  # fmt: skip
    sample = samples["train_00223"]
    assert sample.box.tolist() == [50, 50, 308, 308]
    expected = [[119.166667, 146.333333], [239, 134.333333], [195, 195], [136, 269], [240, 258]]
    np.testing.assert_allclose(sample.points5, expected)
    assert sample.attributes == {"gender": "unsure", "race": "caucasian", "age": "20-39"}
    eyes_apart = [sample.points5[1, 0] - sample.points5[0, 0] for sample in samples.values()]
    assert min(eyes_apart) > 0  # image-left one first
    assert all((real_faces / sample.path).is_file() for sample in samples.values())
    assert not caplog.messages


@pytest.mark.parametrize("place", ["", "DATASET"])
def test_the_copy_in_folders_by_label_is_read(tmp_path, caplog, place):
    for split, digits in (("train", 5), ("test", 4)):
        for label in range(1, 8):
            picture(tmp_path / place / split / str(label) / f"{split}_{label:0{digits}d}_aligned.jpg")
        write(tmp_path / place / f"{split}_labels.csv", "image,label\n")
    samples = by_id(rafdb, tmp_path)
    assert {name: (sample.split, sample.expression.label) for name, sample in samples.items()} == {
        f"{split}_{label:0{digits}d}": (split, RAFDB[label].label)
        for split, digits in (("train", 5), ("test", 4))
        for label in range(1, 8)
    }
    assert all((tmp_path / sample.path).is_file() for sample in samples.values())
    assert samples["test_0002"].attributes == {"image": "aligned"}
    assert "official 100-px crops, without box, points and attributes" in caplog.text


def test_numbered_folders_of_another_dataset_are_refused(tmp_path):
    picture(tmp_path / "DATASET" / "train" / "1" / "image0000006.jpg")
    assert "1/image0000006.jpg is not named as RAF-DB names its images" in refusal(rafdb, tmp_path)
    (tmp_path / "DATASET" / "train" / "0").mkdir()
    assert "train/0: the folders of this copy are RAF-DB's labels 1..7" in refusal(rafdb, tmp_path)
