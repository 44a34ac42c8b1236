"""Both generations of AffectNet become samples with the right labels and points; all else is refused by name."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.sources import _affectnet_labels, affectnet
from pipeline.sources._affectnet_labels import EXPRESSIONS
from tests.support.datasets import by_id, picture, refusal, write


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 224, (68, 2))


@pytest.fixture
def cropped(tmp_path) -> Path:
    root = tmp_path / "AffectNet"
    for split, count in (("train_set", 12), ("val_set", 8)):
        for number in range(count):
            picture(root / split / "images" / f"{number}.jpg")
            folder = root / split / "annotations"
            folder.mkdir(exist_ok=True)
            label = number % 8
            np.save(folder / f"{number}_exp.npy", np.array(str(label)) if number % 2 else np.array([label]))
            np.save(folder / f"{number}_lnd.npy", points(number).reshape(-1))
            np.save(folder / f"{number}_aro.npy", np.array("0.5"))
            np.save(folder / f"{number}_val.npy", np.array("-0.5"))
    return root


def test_affectnet_cropped(cropped, caplog):
    samples = by_id(affectnet, cropped)
    assert list(samples)[:3] == ["train_set/images/0.jpg", "train_set/images/1.jpg", "train_set/images/2.jpg"]
    assert list(samples)[9:11] == ["train_set/images/10.jpg", "train_set/images/11.jpg"]  # by number, 7 is contempt
    assert [samples[f"val_set/images/{number}.jpg"].expression.label for number in range(7)] == [
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger",
    ]  # fmt: skip
    assert Counter(sample.split for sample in samples.values()) == {"train": 11, "test": 7}
    np.testing.assert_array_equal(samples["train_set/images/11.jpg"].landmarks, points(11))
    assert samples["train_set/images/11.jpg"].box is None
    assert caplog.messages == ["left out: 2 images that show none of the seven: 2 Contempt (7)"]


def test_affectnet_copies_that_write_valid_set_keep_the_ids(cropped):
    before = by_id(affectnet, cropped)
    (cropped / "val_set").rename(cropped / "valid_set")
    after = by_id(affectnet, cropped)
    assert list(after) == list(before)
    assert after["val_set/images/3.jpg"].path == "valid_set/images/3.jpg"


def test_affectnet_cropped_missing_files_are_named(cropped, caplog):
    (cropped / "train_set" / "annotations" / "3_lnd.npy").unlink()
    (cropped / "train_set" / "annotations" / "5_exp.npy").unlink()
    samples = by_id(affectnet, cropped)
    assert samples["train_set/images/3.jpg"].landmarks is None
    assert "train_set/images/5.jpg" not in samples
    assert "left out: 1 images of train_set without a label: 5" in caplog.messages
    assert "1 images of train_set without 68 points, kept without: 3" in caplog.messages
    (cropped / "val_set" / "images" / "7.jpg").unlink()  # contempt, which is left out anyway
    assert by_id(affectnet, cropped).keys() == samples.keys()
    assert "left out: 2 images that show none of the seven: 2 Contempt (7)" in caplog.messages
    (cropped / "val_set" / "images" / "2.jpg").unlink()
    assert "1 of 8 labelled images are missing: 2" in refusal(affectnet, cropped)


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("2_exp.npy", np.array("11"), "expected an expression 0..10, found '11'"),
        ("2_exp.npy", np.array(-1), "expected an expression 0..10, found '-1'"),
        ("2_exp.npy", np.array([1, 2]), "expected an expression"),
        ("2_lnd.npy", np.zeros(135), "expected 136 numbers"),
        ("2_lnd.npy", np.array(["x"] * 136), "expected 136 numbers"),
        ("2_lnd.npy", np.full(136, np.inf), "expected 136 numbers"),
        ("2_exp.npy", np.array([{"label": 1}], dtype=object), "cannot be read"),  # would run code of the file
    ],
)
def test_affectnet_refuses_a_damaged_annotation_by_name(cropped, file, value, message):
    np.save(cropped / "train_set" / "annotations" / file, value)
    reason = refusal(affectnet, cropped)
    assert file in reason
    assert message in reason


@pytest.mark.parametrize("keep", [0, 7, 60])
def test_affectnet_refuses_an_annotation_cut_short(cropped, keep):
    path = cropped / "train_set" / "annotations" / "2_exp.npy"
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} cannot be read" in refusal(affectnet, cropped)


def test_affectnet_refuses_half_a_release(cropped):
    (cropped / "val_set" / "annotations").rename(cropped / "annotations")
    assert "annotations is missing" in refusal(affectnet, cropped)
    (cropped / "val_set").rename(cropped / "spare")
    assert "one folder val_set or valid_set, it has 0" in refusal(affectnet, cropped)


def csv_row(number: int, expression: int, **changes: str) -> list[str]:
    face = {"x": "3", "y": "4", "w": "10", "h": "12", "points": ";".join(f"{v:.2f}" for v in points(number).flat)}
    face |= changes
    return [f"{number % 3}/{number:04x}.jpg", face["x"], face["y"], face["w"], face["h"], face["points"],
            str(expression), "-0.1", "0.2"]  # fmt: skip


def write_list(path: Path, rows: list[list[str]], header: bool = True) -> None:
    lines = ["subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"]
    write(path, "\n".join(lines * header + [",".join(row) for row in rows]) + "\n")


@pytest.fixture
def manual(tmp_path) -> Path:
    root = tmp_path / "AffectNet"
    write_list(root / "training.csv", [csv_row(number, number) for number in range(11)])
    write_list(root / "validation.csv", [csv_row(number + 100, number) for number in range(11)], header=False)
    for number in [*range(11), *range(100, 111)]:
        picture(root / "Manually_Annotated_Images" / f"{number % 3}" / f"{number:04x}.jpg")
    return root


def test_affectnet_lists(manual, caplog):
    samples = by_id(affectnet, manual)
    assert Counter(sample.split for sample in samples.values()) == {"train": 7, "test": 7}
    assert [sample.expression for sample in samples.values()] == 2 * [EXPRESSIONS[label] for label in range(7)]
    sample = samples["2/0065.jpg"]  # 101
    assert sample.path == "Manually_Annotated_Images/2/0065.jpg"
    assert sample.split == "test"
    assert sample.box.tolist() == [3, 4, 13, 16]
    np.testing.assert_allclose(sample.landmarks, points(101), atol=0.0051)
    text = "8 images that show none of the seven: 2 Contempt (7), 2 None (8), 2 Uncertain (9), 2 No-Face (10)"
    assert caplog.messages == [f"left out: {text}"]


@pytest.mark.parametrize("place", ["Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated", ""])
def test_affectnet_images_lie_in_different_folders_in_different_copies(manual, place):
    images = manual / "Manually_Annotated_Images"
    (manual / "Manually_Annotated").mkdir()
    for folder_ in list(images.iterdir()):
        (manual / place).mkdir(exist_ok=True)
        folder_.rename(manual / place / folder_.name)
    samples = by_id(affectnet, manual)
    assert len(samples) == 14
    assert all((manual / sample.path).is_file() for sample in samples.values())


def test_affectnet_lists_may_lie_in_their_own_folder(manual):
    (manual / "Manually_Annotated_file_lists").mkdir()
    for name in ("training.csv", "validation.csv"):
        (manual / name).rename(manual / "Manually_Annotated_file_lists" / name)
    assert len(by_id(affectnet, manual)) == 14


def test_affectnet_marks_of_unknown_values(manual, caplog):
    row = csv_row(0, 0, x="NULL", y="NULL", w="NULL", h="NULL", points="")
    write_list(manual / "training.csv", [row, csv_row(10, 10, points="NULL")])
    samples = by_id(affectnet, manual)
    assert samples["0/0000.jpg"].box is None
    assert samples["0/0000.jpg"].landmarks is None
    assert caplog.messages[:2] == [
        "1 images without box, kept without",
        "1 images without landmarks, kept without",
    ]


@pytest.mark.parametrize("size", [{"w": "0"}, {"h": "0"}, {"h": "-3"}])
def test_affectnet_boxes_without_a_size_are_none(manual, caplog, size):
    write_list(manual / "training.csv", [csv_row(0, 0, **size), csv_row(1, 1)])
    samples = by_id(affectnet, manual)
    assert samples["0/0000.jpg"].box is None
    assert samples["1/0001.jpg"].box.tolist() == [3, 4, 13, 16]
    assert caplog.messages[0] == "1 images without box, kept without"


def test_affectnet_lists_name_missing_images(manual):
    (manual / "Manually_Annotated_Images" / "1" / "0004.jpg").unlink()
    assert "Manually_Annotated_Images: 1 of the listed images are missing: 1/0004.jpg" in refusal(affectnet, manual)
    (manual / "Manually_Annotated_Images").rename(manual / "pictures")
    assert "unpack them there" in refusal(affectnet, manual)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (csv_row(1, 11), "line 3: expected an expression 0..10, found '11'"),
        (csv_row(1, 1, w="wide"), "line 3: the face box: expected 4 numbers"),
        (csv_row(1, 1, points="1;2;3"), "line 3: facial_landmarks: expected 136 numbers"),
        (csv_row(1, 1)[:-1], "line 3: expected 9 columns, found 8"),
    ],
)
def test_affectnet_refuses_a_damaged_row(manual, row, message):
    write_list(manual / "training.csv", [csv_row(0, 0), row])
    assert f"training.csv, {message}" in refusal(affectnet, manual)


@pytest.mark.parametrize(
    ("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-16"), (";", "utf-16")]
)
def test_lists_that_a_spreadsheet_saved_are_read(manual, separator, encoding):
    before = by_id(affectnet, manual)
    for name in ("training.csv", "validation.csv"):
        lines = (manual / name).read_text().splitlines()
        rows = [[f'"{value}"' if ";" in value else value for value in line.split(",")] for line in lines]
        (manual / name).write_text("\r\n".join(map(separator.join, rows)), encoding=encoding, newline="")
    after = by_id(affectnet, manual)
    assert list(after) == list(before)
    for name, sample in after.items():
        assert (sample.expression, sample.split) == (before[name].expression, before[name].split)
        np.testing.assert_array_equal(sample.landmarks, before[name].landmarks)


def test_lists_with_ambiguous_separators_or_another_encoding_are_named(manual):
    text = (manual / "training.csv").read_text()
    (manual / "training.csv").write_text(text.replace(",", ";"))
    assert "line 2: expected 9 columns, found 144 between ';'; save the list with commas" in refusal(affectnet, manual)
    (manual / "training.csv").write_text(text, encoding="utf-16-le")
    assert "training.csv is no text in UTF-8 (UTF-16 or 32 without a mark" in refusal(affectnet, manual)


def test_affectnet_refuses_lists_of_another_kind(manual):
    text = (manual / "training.csv").read_text()
    write(manual / "training.csv", text.replace("face_width", "width", 1))
    assert "the column face_width is missing" in refusal(affectnet, manual)
    (manual / "training.csv").unlink()
    assert "both lists are needed" in refusal(affectnet, manual)


def test_affectnet_refuses_both_generations_in_one_folder(cropped):
    for name in ("training.csv", "validation.csv"):
        write_list(cropped / name, [])
    assert "both generations" in refusal(affectnet, cropped)


def test_affectnet_class_folders_of_copies_are_recognised(tmp_path):
    for name in ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
        picture(tmp_path / "names" / "Train" / name / "1.png")
        picture(tmp_path / "deep" / "archive (3)" / "Test" / name.title() / "1.png")
    for number in range(8):
        picture(tmp_path / "numbers" / "train" / str(number) / "1.png")
        picture(tmp_path / "classes" / "train_class" / f"class{number + 1:03d}" / "1.png")
    reason = refusal(affectnet, tmp_path / "names")
    assert "names/Train holds class folders (anger, contempt, disgust and 5 more)" in reason
    assert "`source: folder`" in reason
    assert "deep/archive (3)/Test holds class folders (Anger, Contempt," in refusal(affectnet, tmp_path / "deep")
    for name, place in (("numbers", "train"), ("classes", "train_class")):
        reason = refusal(affectnet, tmp_path / name)
        assert f"{name}/{place} holds numbered class folders" in reason
        assert "by alphabet (0 anger ... 7 surprise)" in reason
        assert "`source: folder`" in reason


@given(text=st.one_of(st.integers(-5, 20).map(str), st.floats(-2, 12).map(str), st.text(max_size=5)))
def test_an_affectnet_id_is_a_whole_number_up_to_10_or_refused(text):
    try:
        label = _affectnet_labels.expression_id(text, "here")
    except UserError:
        return
    assert 0 <= label <= 10
    assert float(text) == label
