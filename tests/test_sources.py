"""Datasets in their true layouts become samples with the right labels, boxes and points; wrong layouts are refused."""

import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.expressions import AFFECTNET, RAFDB, Expression
from pipeline.sources import _affectnet_labels, affectnet, folder, rafdb
from pipeline.types import Sample


def picture(path: Path, size: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size, size, 3), sum(path.stem.encode()) % 256, np.uint8))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def by_id(source: object, root: Path) -> dict[str, Sample]:
    return {sample.id: sample for sample in source.read(root)}  # type: ignore[attr-defined]


def refusal(source: object, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(source.read(root))  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


# ---------------------------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("name", ["rafdb", "affectnet", "folder"])
def test_a_source_keeps_its_contract(name, tmp_path):
    assert name in plugins.names("pipeline.sources")
    source = plugins.load("pipeline.sources", name)
    assert "request" in source.LAYOUT
    assert all(
        split in ("train", "test") and isinstance(expression, Expression) for split, expression in source.EXPECTED
    )
    assert str(tmp_path) in refusal(source, tmp_path)


def test_helper_modules_are_no_sources():
    assert not [name for name in plugins.names("pipeline.sources") if name.startswith("_")]


# ------------------------------------------------------------------------------------------------------------ RAF-DB

BOX = "1.500000 2.250000 18.000000 19.000000 \n"
FACE = "5.1\t6.2\n14.3\t6.4\n9.5\t10.6\n6.7\t14.8\n13.9\t14.0\n1\n2\n3\n"


@pytest.fixture
def raf(tmp_path) -> Path:
    base = tmp_path / "RAF-DB" / "basic"
    names = [f"train_{number:05d}" for number in range(1, 8)] + ["test_0001", "test_0002"]
    labels = [*range(1, 8), 4, 7]
    write(base / rafdb.LABELS, "".join(f"{name}.jpg {label}\n" for name, label in zip(names, labels, strict=True)))
    for name in names:
        picture(base / "Image" / "original" / f"{name}.jpg")
        write(base / "Annotation" / "boundingbox" / f"{name}_boundingbox.txt", BOX)
        write(base / "Annotation" / "manual" / f"{name}_manu_attri.txt", FACE)
    return base


def test_rafdb_labels_boxes_points_and_attributes(raf, caplog):
    found = by_id(rafdb, raf.parent)
    assert {name: sample.expression.label for name, sample in found.items()} == {
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
    assert [sample.split for sample in found.values()] == ["train"] * 7 + ["test"] * 2
    sample = found["test_0001"]
    assert sample.path == "basic/Image/original/test_0001.jpg"
    assert sample.box.tolist() == [1.5, 2.25, 18, 19]
    assert sample.points5.tolist() == [[5.1, 6.2], [14.3, 6.4], [9.5, 10.6], [6.7, 14.8], [13.9, 14.0]]
    assert sample.attributes == {"gender": "female", "race": "asian", "age": "40-69"}
    assert sample.identity is None
    assert sample.landmarks is None
    assert not caplog.messages


def test_rafdb_root_may_be_the_basic_folder_whatever_its_name(raf):
    renamed = raf.rename(raf.parent / "raf-basic")
    found = by_id(rafdb, renamed)
    assert len(found) == 9
    assert found["test_0001"].path == "Image/original/test_0001.jpg"


def test_rafdb_list_from_windows(raf):
    lines = (raf / rafdb.LABELS).read_text().splitlines()
    write(raf / rafdb.LABELS, "\ufeff" + "".join(f"{line}  \r\n" for line in lines) + "\r\n \r\n")
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
    lines = (raf / rafdb.LABELS).read_text().splitlines()
    lines[6] = line
    write(raf / rafdb.LABELS, "\n".join(lines))
    assert message in refusal(rafdb, raf)


def test_rafdb_refuses_an_empty_or_missing_list(raf):
    write(raf / rafdb.LABELS, "\n")
    assert "lists no images" in refusal(rafdb, raf)
    (raf / rafdb.LABELS).unlink()
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
    found = by_id(rafdb, raf)
    assert len(found) == 9
    assert [name for name, sample in found.items() if sample.box is None] == ["train_00002", "train_00003"]
    assert [name for name, sample in found.items() if sample.points5 is None] == ["test_0002"]
    assert caplog.messages == [
        "2 images without a usable box, kept without: train_00002, train_00003",
        "1 images without points and attributes, kept without: test_0002",
    ]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("boundingbox/train_00001_boundingbox.txt", "", "line 1: expected 4 numbers"),
        ("boundingbox/train_00001_boundingbox.txt", "1 2 3\n", "line 1: expected 4 numbers, found '1 2 3'"),
        ("boundingbox/train_00001_boundingbox.txt", "1 2 nan 4\n", "line 1: expected 4 numbers"),
        ("manual/train_00001_manu_attri.txt", "1 2\n", "found 1 lines"),
        ("manual/train_00001_manu_attri.txt", FACE.replace("14.3\t6.4", "14.3"), "line 2: expected 2 numbers"),
        (
            "manual/train_00001_manu_attri.txt",
            FACE.replace("\n3\n", "\n5\n"),
            "line 8: expected age as 0..4, found '5'",
        ),
    ],
)
def test_rafdb_refuses_a_damaged_annotation_by_name(raf, file, text, message):
    write(raf / "Annotation" / file, text)
    reason = refusal(rafdb, raf)
    assert file in reason
    assert message in reason


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


def test_real_faces(shared, caplog):
    root = shared / "faces" / "RAF-DB"
    if not root.is_dir():
        pytest.skip("the real faces are not beside the repository")
    found = by_id(rafdb, root)
    splits = Counter(sample.split for sample in found.values())
    assert splits == {"train": 1048, "test": 387}
    test = Counter(sample.expression.label for sample in found.values() if sample.split == "test")
    assert test == {
        "neutral": 96, "happiness": 103, "surprise": 37, "fear": 1, "anger": 58, "disgust": 26, "sadness": 66,
    }  # fmt: skip
    sample = found["train_00223"]
    assert sample.box.tolist() == [50, 50, 308, 308]
    expected = [[119.166667, 146.333333], [239, 134.333333], [195, 195], [136, 269], [240, 258]]
    np.testing.assert_allclose(sample.points5, expected)
    assert sample.attributes == {"gender": "unsure", "race": "caucasian", "age": "20-39"}
    eyes_apart = [sample.points5[1, 0] - sample.points5[0, 0] for sample in found.values()]
    assert min(eyes_apart) > 0  # image-left one first
    assert all((root / sample.path).is_file() for sample in found.values())
    assert not caplog.messages


# --------------------------------------------------------------------------------------------------------- AffectNet


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
    found = by_id(affectnet, cropped)
    assert list(found)[:3] == ["train_set/images/0.jpg", "train_set/images/1.jpg", "train_set/images/2.jpg"]
    assert list(found)[9:11] == ["train_set/images/10.jpg", "train_set/images/11.jpg"]  # by number, 7 is contempt
    assert [found[f"val_set/images/{number}.jpg"].expression.label for number in range(7)] == [
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger",
    ]  # fmt: skip
    assert Counter(sample.split for sample in found.values()) == {"train": 11, "test": 7}
    np.testing.assert_array_equal(found["train_set/images/11.jpg"].landmarks, points(11))
    assert found["train_set/images/11.jpg"].box is None
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
    found = by_id(affectnet, cropped)
    assert found["train_set/images/3.jpg"].landmarks is None
    assert "train_set/images/5.jpg" not in found
    assert "left out: 1 images of train_set without a label: 5" in caplog.messages
    assert "1 images of train_set without 68 points, kept without: 3" in caplog.messages
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
    found = by_id(affectnet, manual)
    assert Counter(sample.split for sample in found.values()) == {"train": 7, "test": 7}
    assert [sample.expression for sample in found.values()] == 2 * [AFFECTNET[label] for label in range(7)]
    sample = found["2/0065.jpg"]  # 101
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
    found = by_id(affectnet, manual)
    assert len(found) == 14
    assert all((manual / sample.path).is_file() for sample in found.values())


def test_affectnet_lists_may_lie_in_their_own_folder(manual):
    (manual / "Manually_Annotated_file_lists").mkdir()
    for name in ("training.csv", "validation.csv"):
        (manual / name).rename(manual / "Manually_Annotated_file_lists" / name)
    assert len(by_id(affectnet, manual)) == 14


def test_affectnet_marks_of_unknown_values(manual, caplog):
    row = csv_row(0, 0, x="NULL", y="NULL", w="NULL", h="NULL", points="")
    write_list(manual / "training.csv", [row, csv_row(10, 10, points="NULL")])
    found = by_id(affectnet, manual)
    assert found["0/0000.jpg"].box is None
    assert found["0/0000.jpg"].landmarks is None
    assert caplog.messages[:2] == [
        "1 images without box, kept without",
        "1 images without landmarks, kept without",
    ]


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
    for number in range(8):
        picture(tmp_path / "numbers" / "train" / str(number) / "1.png")
    reason = refusal(affectnet, tmp_path / "names")
    assert "class folders (anger, contempt, disgust and 5 more)" in reason
    assert "`source: folder`" in reason
    reason = refusal(affectnet, tmp_path / "numbers")
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


# ------------------------------------------------------------------------------------------------------------ folder


@pytest.fixture
def own(tmp_path) -> Path:
    root = tmp_path / "own"
    for split in ("train", "test"):
        for name in ("Happy", "sadness", "ANGRY", "neutral"):
            picture(root / split / name / "1.jpg")
    return root


def test_folder_reads_class_names_and_keeps_paths_as_ids(own):
    found = by_id(folder, own)
    assert {name: sample.expression.label for name, sample in found.items()} == {
        f"{split}/{name}/1.jpg": label
        for split in ("train", "test")
        for name, label in (("ANGRY", "anger"), ("Happy", "happiness"), ("neutral", "neutral"), ("sadness", "sadness"))
    }
    assert all(sample.path == name and name.startswith(sample.split) for name, sample in found.items())


@pytest.mark.parametrize(
    ("name", "label"),
    [("happy", "happiness"), ("sad", "sadness"), ("angry", "anger"), ("fearful", "fear"), ("disgusted", "disgust"),
     ("surprised", "surprise"), *((expression.label, expression.label) for expression in Expression)],
)  # fmt: skip
def test_every_usual_class_name_is_known(own, name, label):
    picture(own / "train" / name.title() / "other.png")
    assert by_id(folder, own)[f"train/{name.title()}/other.png"].expression.label == label


def test_folder_reads_subfolders_and_other_formats_and_reports_the_rest(own, caplog):
    picture(own / "train" / "Happy" / "anna" / "2.PNG")
    picture(own / "train" / "Happy" / "1.png")  # same stem as 1.jpg: another image
    picture(own / "train" / "Happy" / ".hidden" / "3.png")
    write(own / "train" / "Happy" / ".DS_Store", "")
    write(own / "train" / "Happy" / "notes.txt", "")
    write(own / "train" / "list.csv", "")
    write(own / "README.md", "")
    picture(own / "test" / "contempt" / "1.jpg")
    found = by_id(folder, own)
    assert {"train/Happy/anna/2.PNG", "train/Happy/1.png", "train/Happy/1.jpg"} < found.keys()
    assert len(found) == 10
    assert caplog.messages == [
        "not part of the dataset: README.md",
        "left out: 1 files in train/ that are in no class folder: list.csv",
        "left out: 1 files in train/Happy/ that are no images: notes.txt",
        "left out: 1 images of contempt in test/",
    ]


def test_folder_follows_a_linked_class_folder(own, tmp_path):
    picture(tmp_path / "elsewhere" / "5.jpg")
    (own / "train" / "fear").symlink_to(tmp_path / "elsewhere")
    assert by_id(folder, own)["train/fear/5.jpg"].expression is Expression.FEAR


@pytest.mark.parametrize("name", ["val", "Validation", "valid"])
def test_a_validation_folder_is_the_test_split_only_if_there_is_none(own, caplog, name):
    picture(own / name / "happy" / "7.jpg")
    assert "the validation split is taken from train/ by seed" in refusal(folder, own)
    (own / "test").rename(own.parent / "test")
    found = by_id(folder, own)
    assert found[f"{name}/happy/7.jpg"].split == "test"
    assert f"{name}/ is used as the test split, as there is no test/" in caplog.messages


def test_folder_refuses_unknown_classes_by_name(own):
    picture(own / "train" / "bored" / "1.jpg")
    reason = refusal(folder, own)
    assert "train/bored is no expression" in reason
    assert "neutral, happiness" in reason
    (own / "train" / "bored").rename(own / "train" / "3")
    assert "a number means another expression in every dataset" in refusal(folder, own)


def test_folder_refuses_a_missing_split_and_a_split_without_classes(own):
    (own / "test").rename(own / "exam")
    assert "needs the folders train/ and test/ with a folder per class; found: exam, train" in refusal(folder, own)
    (own / "test").mkdir()
    assert "test holds no class folders" in refusal(folder, own)
