"""Pictures in class folders become samples under every usual class name; unknown names are refused."""

import logging
from pathlib import Path

import pytest

from au_guidance.expressions import Expression
from pipeline.sources import folder
from tests.support.datasets import by_id, picture, refusal, write


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture
def own(tmp_path) -> Path:
    root = tmp_path / "own"
    for split in ("train", "test"):
        for name in ("Happy", "sadness", "ANGRY", "neutral"):
            picture(root / split / name / "1.jpg")
    return root


def test_folder_reads_class_names_and_keeps_paths_as_ids(own):
    samples = by_id(folder, own)
    assert {name: sample.expression.label for name, sample in samples.items()} == {
        f"{split}/{name}/1.jpg": label
        for split in ("train", "test")
        for name, label in (("ANGRY", "anger"), ("Happy", "happiness"), ("neutral", "neutral"), ("sadness", "sadness"))
    }
    assert all(sample.path == name and name.startswith(sample.split) for name, sample in samples.items())


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
    samples = by_id(folder, own)
    assert {"train/Happy/anna/2.PNG", "train/Happy/1.png", "train/Happy/1.jpg"} < samples.keys()
    assert len(samples) == 10
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


def test_folder_lists_links_that_lead_nowhere(own, caplog):
    """Alignment reports the image as unreadable; what cannot be an image is named here."""
    for place in ("train/Happy/2.jpg", "train/Happy/more", "train/fear"):
        (own / place).symlink_to("/nowhere/at/all")
    (own / "train" / "sadness" / "linked").symlink_to(own / "test")
    assert by_id(folder, own)["train/Happy/2.jpg"].expression is Expression.HAPPINESS
    assert caplog.messages == [
        "left out: 1 files in train/ that are in no class folder: fear",
        "left out: 1 files in train/Happy/ that are no images: more",
        "left out: 1 files in train/sadness/ that are no images: linked",
    ]


@pytest.mark.parametrize("name", ["val", "Validation", "valid"])
def test_a_validation_folder_is_the_test_split_if_there_is_none(own, caplog, name):
    picture(own / name / "happy" / "7.jpg")
    samples = by_id(folder, own)
    assert samples[f"{name}/happy/7.jpg"].split == "validation"
    assert {sample.split for sample in samples.values()} == {"train", "validation", "test"}
    assert caplog.messages == []
    (own / "test").rename(own.parent / "test")
    samples = by_id(folder, own)
    assert samples[f"{name}/happy/7.jpg"].split == "test"
    assert f"{name}/ is used as the test split, as there is no test/" in caplog.messages


def test_two_validation_folders_are_refused(own):
    picture(own / "val" / "happy" / "7.jpg")
    picture(own / "valid" / "happy" / "7.jpg")
    assert "holds both val/ and valid/; keep one of them" in refusal(folder, own)


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
