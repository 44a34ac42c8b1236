"""FER2013 in both forms: labels, splits and pixels of the rows, and the refusal of what is not FER2013."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline import align, index
from pipeline.sources import fer2013
from pipeline.storage import images, shards
from tests.support.datasets import by_id, refusal, write

USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="module")
def faces() -> list[tuple[str, int, np.ndarray]]:
    """(split, label, pixels) of 21 pictures of noise."""
    rng = np.random.default_rng(0)
    return [(split, label, rng.integers(0, 256, (48, 48)).astype(np.uint8)) for split in USAGES for label in range(7)]


def row(label: object, pixels: object, usage: str) -> str:
    return f"{label},{' '.join(map(str, np.ravel(pixels)))},{usage}\n"


def table(faces) -> str:
    return "emotion,pixels,Usage\n" + "".join(row(label, pixels, USAGES[split]) for split, label, pixels in faces)


@pytest.fixture
def folders(tmp_path, faces) -> Path:
    for split, label, pixels in faces:
        path = tmp_path / "folders" / "FER2013" / split / CLASSES[label] / f"{split}_{label}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return tmp_path / "folders"


@pytest.mark.parametrize("place", ["fer2013.csv", "fer2013/fer2013.csv", "archive/FER2013/icml_face_data.csv"])
def test_rows_have_the_official_labels_splits_and_pixels(tmp_path, faces, place):
    write(tmp_path / place, table(faces))
    samples = list(fer2013.read(tmp_path))
    assert [sample.id for sample in samples] == [f"fer{number:07d}" for number in range(21)]
    for sample, (split, label, pixels) in zip(samples, faces, strict=True):
        assert (sample.split, sample.expression.label) == (split, LABELS[label])
        assert sample.path.startswith(f"{place}#")
        image = fer2013.read_image(tmp_path, sample.path)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, np.stack([pixels] * 3, axis=2))


def test_header_and_quotes_may_differ(tmp_path, faces):
    """The order, spaces and capitals of Kaggle's other file; quotes, Windows' line ends, a mark at the start; none."""
    (split, label, pixels), words = faces[8], " ".join(map(str, faces[8][2].ravel()))
    for text in (
        f"emotion, Usage, pixels\n{label},{USAGES[split]}, {words}\n",
        f'\ufeffEmotion,Pixels,USAGE\r\n"{label}","{words}","{USAGES[split]}"\r\n\r\n',
        f"{label},{words},{USAGES[split]}",
        f"\ufeff{label},{words},{USAGES[split]}",
    ):
        write(tmp_path / "fer2013.csv", text)
        (sample,) = fer2013.read(tmp_path)
        assert (sample.split, sample.expression) == ("validation", Expression.DISGUST)
        np.testing.assert_array_equal(fer2013.read_image(tmp_path, sample.path)[..., 1], pixels)


@pytest.mark.parametrize("wrapped", [True, False])
def test_folders_have_the_same_labels_and_splits(folders, faces, wrapped):
    samples = by_id(fer2013, folders if wrapped else folders / "FER2013")
    assert {name: (sample.split, sample.expression.label) for name, sample in samples.items()} == {
        f"{split}/{CLASSES[label]}/{split}_{label}.png": (split, LABELS[label]) for split, label, _ in faces
    }
    assert {sample.path == f"FER2013/{name}" for name, sample in samples.items()} == {wrapped}
    assert fer2013.read_image(folders, next(iter(samples.values())).path) is None


def test_both_forms_give_the_same_faces(tmp_path, folders, faces):
    write(tmp_path / "table" / "fer2013.csv", table(faces))
    crops = []
    for name in ("table", "folders"):
        path = tmp_path / f"{name}.csv"
        index.build_index("fer2013", tmp_path / name, 1, path)
        options = {"detector": "none", "size": 96, "quality": None, "mode": "corrected", "source": "fer2013"}
        assert align.align_shard(path, tmp_path / name, 0, tmp_path / f"{name}.h5", **options)["unreadable"] == 0
        stored = shards.Shard(tmp_path / f"{name}.h5")
        columns, files = stored.columns("split", "expression", "status", "matrix"), stored.stored_files()
        order = np.lexsort((columns["expression"], columns["split"]))
        decoded = np.stack([images.decode(files[i]) for i in order])
        crops.append((*(columns[key][order] for key in columns), decoded))
    for from_table, from_folders in zip(*crops, strict=True):
        np.testing.assert_array_equal(from_table, from_folders)


def test_a_wrong_row_is_unreadable_with_a_reason(tmp_path, faces, caplog):
    rows = [row(3, faces[0][2], "Training"), row(3, faces[1][2][:, :47], "Training")]
    rows += [row(4, ["256", *["1"] * 2303], "PrivateTest"), row(5, ["1.5", *["1"] * 2303], "PrivateTest")]
    write(tmp_path / "fer2013.csv", "".join(rows))
    index.build_index("fer2013", tmp_path, 1, tmp_path / "index.csv")
    options = {"detector": "none", "size": 64, "quality": 95, "mode": "corrected", "source": "fer2013"}
    counts = align.align_shard(tmp_path / "index.csv", tmp_path, 0, tmp_path / "0.h5", **options)
    assert counts["unreadable"] == 3
    reasons = [message.partition(": ")[2] for message in caplog.messages if message.startswith("unreadable")]
    assert [reason.partition(": ")[2] for reason in reasons] == [
        "damaged row: 2256 pixels, expected 48 x 48 from 0 to 255",
        "damaged row: 2304 pixels, expected 48 x 48 from 0 to 255",
        "damaged row: pixels that are no numbers",
    ]
    (tmp_path / "fer2013.csv").rename(tmp_path / "gone")
    with pytest.raises(images.Unreadable, match="cannot be opened"):
        fer2013.read_image(tmp_path, "fer2013.csv#0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("emotion,pixels\n3,1 2 3\n", "line 1: the column usage is missing"),
        ("emotion,pixels,Usage\n3,1 2", "line 2: there is no usage; the file is incomplete, get it again"),
        ("7,1 2 3,Training\n", "line 1: expected an emotion 0..6, found '7'"),
        ("3,1 2 3,Train\n", "line 1: expected the usage Training, PublicTest or PrivateTest, found 'Train'"),
    ],
)
def test_a_wrong_label_usage_or_column_is_named(tmp_path, text, reason):
    write(tmp_path / "fer2013.csv", text)
    assert reason in refusal(fer2013, tmp_path)


def test_the_copy_without_validation_is_compared_with_merged_counts(tmp_path, folders, faces, caplog):
    (folders / "FER2013" / "validation").rename(tmp_path / "moved")
    assert {sample.split for sample in fer2013.read(folders)} == {"train", "test"}
    assert caplog.messages == [
        "no validation split, as in the common copy whose test split holds both official test sets (7,178)"
    ]
    counts = index.compare_counts({("train", Expression.FEAR): 1, ("test", Expression.FEAR): 1}, fer2013.EXPECTED)
    official = {(count.split, count.expression): count.expected for count in counts}
    assert official["test", Expression.FEAR] == 496 + 528
    assert sum(count for (split, _), count in official.items() if split == "test") == 7178
    assert sum(count for (split, _), count in official.items() if split == "train") == 28_709


def test_official_counts():
    assert [
        [fer2013.EXPECTED[split, Expression.parse(name)] for name in LABELS] for split in ("validation", "test")
    ] == [[467, 56, 496, 895, 653, 415, 607], [491, 55, 528, 879, 594, 416, 626]]


def test_the_file_is_preferred_and_other_folders_are_refused(tmp_path, folders, faces, caplog):
    write(folders / "fer2013.csv", table(faces))
    assert all("csv#" in sample.path for sample in fer2013.read(folders))
    assert f"fer2013.csv is read; the pictures in {folders / 'FER2013'} are not used" in caplog.messages
    write(tmp_path / "other" / "train.csv", "")
    reason = refusal(fer2013, tmp_path / "other")
    assert "holds fer2013.csv, or train/ and test/ with folders such as angry and happy; found: train.csv" in reason
