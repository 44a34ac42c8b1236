"""The status report counts every image by split and class, and names what a total would hide."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from pipeline import status
from pipeline.errors import UserError
from pipeline.storage import shards
from tests.support.faces import mean_face
from tests.support.paths import ROOT


def prepare(folder: Path, faces: list[str], landmarks: list[str], **columns: list) -> Path:
    """Write the shards of a dataset: row i has class i modulo 7; even rows are test, odd rows train."""
    count = len(faces)
    whole = np.isin(landmarks, ("ok", "redetected"))
    pictures = columns.get("pictures", [b"%d" % row for row in range(count)])
    common = {"id": columns.get("id", [f"face_{row}" for row in range(count)])}
    shown = {
        "split": [("test", "train")[row % 2] for row in range(count)],
        "expression": np.arange(count, dtype=np.int8) % 7,
        "status": faces,
        "step": columns.get("step", ["plain"] * count),
        "jpeg": np.concatenate([np.frombuffer(picture, np.uint8) for picture in pictures]),
        "offset": np.cumsum([0, *map(len, pictures)]),
    }
    found = {
        "status": landmarks,
        "points": np.where(whole[:, None, None], mean_face(), np.nan).astype(np.float32),
        "quality": np.array(columns.get("quality", [np.nan] * count), np.float32),
    }
    shards.write(folder / "faces" / "0.h5", common | shown, of=1)
    shards.write(folder / "landmarks" / "0.h5", common | found, of=1)
    return folder


def cells(text: str, section: str) -> list[list[str]]:
    """Read the table of a section of status.md, without the rule under its head."""
    lines = text.split(f"# {section}\n\n")[1].split("\n\n", maxsplit=1)[0].strip().splitlines()
    assert len({len(line) for line in lines}) == 1
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def test_faces_and_landmarks_by_split_and_class(tmp_path: Path) -> None:
    faces = ["ok"] * 6 + ["box_fallback", "unreadable"]
    prepare(tmp_path, faces, ["ok"] * 3 + ["no_points"] * 4 + ["unreadable"])
    table = status.write_status(tmp_path, tmp_path / "status").set_index(["split", "expression"])
    test_neutral = table.loc[("test", "neutral"), ["images", "face:ok", "landmarks:ok", "percent"]]
    assert test_neutral.tolist() == [1, 1, 1, "100.0"]
    assert table.loc[("train", "neutral"), ["images", "face:unreadable", "percent"]].tolist() == [1, 1, "0.0"]
    assert table.loc[("train", "all"), ["images", "landmarks:ok", "percent"]].tolist() == [4, 1, "25.0"]
    assert table.loc[("all", "all"), ["images", "face:box_fallback", "landmarks:no_points"]].tolist() == [8, 1, 4]
    assert table.loc[("train", "sadness"), ["images", "percent"]].tolist() == [0, "-"]
    stored = pandas.read_csv(tmp_path / "status.csv")
    assert ",".join(stored.columns) == (
        "split,expression,images,face:ok,face:box_fallback,face:unreadable,"
        "landmarks:ok,landmarks:no_points,landmarks:unreadable,percent"
    )
    shown = cells((tmp_path / "status.md").read_text(), "Faces and landmarks")
    assert shown[0] == list(stored.columns)
    assert len(shown) == 1 + 7 + 1 + 7 + 1 + 1
    assert shown[-1] == ["all", "all", "8", "6", "1", "1", "3", "4", "1", "37.5"]


def test_faces_csv_has_a_row_per_image(tmp_path: Path) -> None:
    prepare(tmp_path, ["ok", "whole_image"], ["ok", "no_face"], step=["plain", ""], quality=[0.25, np.nan])
    status.write_status(tmp_path, tmp_path / "status")
    lines = (tmp_path / "faces.csv").read_text().splitlines()
    assert lines == [
        "id,split,expression,status,step,score,landmarks,quality",
        "face_0,test,neutral,ok,plain,,ok,0.25",  # shards of earlier versions have no score
        "face_1,train,happiness,whole_image,,,no_face,",
    ]
    columns = shards.read(tmp_path / "faces" / "0.h5") | {"score": np.array([3.5, np.nan], np.float32)}
    shards.write(tmp_path / "faces" / "0.h5", columns, of=1)
    status.write_status(tmp_path, tmp_path / "status")
    lines = (tmp_path / "faces.csv").read_text().splitlines()
    assert lines[1:] == ["face_0,test,neutral,ok,plain,3.5,ok,0.25", "face_1,train,happiness,whole_image,,,no_face,"]


def test_lost_maps_are_counted_over_both_splits_and_a_gap_is_a_warning(tmp_path: Path) -> None:
    landmarks = ["ok"] * 70
    landmarks[5] = landmarks[12] = "no_face"  # two of ten of sadness or whichever class has id 5
    label = status.Expression(5).label
    prepare(tmp_path, ["ok"] * 70, landmarks)
    status.write_status(tmp_path, tmp_path / "status")
    text = (tmp_path / "status.md").read_text()
    shown = cells(text, "AU maps that are lost")
    assert shown[0] == ["expression", "images", "lost", "percent"]
    assert [label, "10", "2", "20.0"] in shown
    assert shown[1] == ["neutral", "10", "0", "0.0"]
    assert shown[-1] == ["all", "70", "2", "2.9"]
    assert f"\nwarning: landmarks: {label} 80 %, neutral 100 %: AU maps are missing unevenly, so" in text
    landmarks[12] = "ok"  # ten points are no gap yet
    prepare(tmp_path, ["ok"] * 70, landmarks)
    status.write_status(tmp_path, tmp_path / "status")
    assert "warning" not in (tmp_path / "status.md").read_text()


def test_counts_stand_beside_the_official_ones(tmp_path: Path) -> None:
    prepare(tmp_path, ["ok"] * 9, ["ok"] * 9)
    status.write_status(tmp_path, tmp_path / "status", "rafdb")
    text = (tmp_path / "status.md").read_text()
    shown = cells(text, "Images, beside the official release")
    assert shown[0] == ["split", "expression", "found", "official"]
    assert ["test", "neutral", "1", "680"] in shown  # row 0
    assert ["train", "neutral", "1", "2524"] in shown  # row 7
    assert ["test", "surprise", "1", "329"] in shown  # row 2
    assert len(shown) == 15
    assert "warning: 14 of 14 counts differ from the official release (train/test 4/5, official 12271/3068)" in text


@pytest.mark.parametrize("source", [None, "folder"])
def test_no_official_counts_no_section(tmp_path: Path, source: str | None) -> None:
    prepare(tmp_path, ["ok"], ["ok"])
    status.write_status(tmp_path, tmp_path / "status", source)
    assert "official" not in (tmp_path / "status.md").read_text()


def test_steps_and_quality_by_class(tmp_path: Path) -> None:
    faces = ["ok"] * 7 + ["whole_image", "several"]
    step = ["padded", *["plain"] * 5, "upsampled", "", "padded"]
    quality = [0.5, 0.25, np.nan, 0.75, np.nan, np.nan, np.nan, 0.75, 0.75]
    prepare(tmp_path, faces, ["ok"] * 9, step=step, quality=quality)
    status.write_status(tmp_path, tmp_path / "status")
    shown = cells((tmp_path / "status.md").read_text(), "Which step of the detector found the face")
    assert shown[0] == ["expression", "plain", "padded", "upsampled", "none", "quality"]
    assert shown[1] == ["neutral", "0", "1", "0", "1", "0.625"]  # rows 0 and 7
    assert shown[2] == ["happiness", "1", "1", "0", "0", "0.500"]  # rows 1 and 8
    assert shown[3] == ["surprise", "1", "0", "0", "0", "-"]
    assert shown[8] == ["all", "5", "2", "1", "1", "0.600"]


def test_unknown_quality_is_left_out(tmp_path: Path) -> None:
    prepare(tmp_path, ["ok"], ["ok"])
    status.write_status(tmp_path, tmp_path / "status")
    assert cells((tmp_path / "status.md").read_text(), "Which step of the detector found the face")[0][-1] == "none"


@pytest.mark.parametrize(("unreadable", "named", "more"), [(0, 0, None), (3, 3, None), (50, 50, None), (53, 50, 3)])
def test_unreadable_files_are_named(tmp_path: Path, unreadable: int, named: int, more: int | None) -> None:
    states = ["unreadable"] * unreadable + ["ok"] * 2
    prepare(tmp_path, states, states)
    status.write_status(tmp_path, tmp_path / "status")
    text = (tmp_path / "status.md").read_text().split(f"# Unreadable files: {unreadable}\n")[1]
    expected = [f"- `face_{row}`" for row in range(named)] + ([f"- and {more} more"] if more else [])
    assert text.split("\n") == (["", *expected, ""] if expected else [""])


def test_the_same_picture_in_two_splits_is_warned_of(tmp_path: Path) -> None:
    """Rows 0 (test) and 3 (train) share a picture; 2 and 4 (both test) do too; unreadable ones have none."""
    pictures = [b"a", b"b", b"c", b"a", b"c", b"", b"", b"d", b"e", b"f", b"g", b"h", b"i", b"j"]
    states = ["unreadable" if not picture else "ok" for picture in pictures]
    prepare(tmp_path, states, states, pictures=pictures)
    status.write_status(tmp_path, tmp_path / "status")
    text = (tmp_path / "status.md").read_text()
    assert text.splitlines()[2:4] == [
        "warning: 1 pictures are in more than one split (2 faces), such as face_0 and face_3; scores on them "
        "are not those on new faces",
        "",
    ]


def test_a_class_that_training_lacks_is_warned_of(tmp_path: Path) -> None:
    prepare(tmp_path, ["ok"] * 13, ["ok"] * 13)  # classes 1, 3, 5, 0, 2 and 4 are trained, 6 is only tested
    status.write_status(tmp_path, tmp_path / "status")
    text = (tmp_path / "status.md").read_text()
    assert [line for line in text.splitlines() if "warning" in line] == [
        "warning: sadness is in the test split but not in the training split; no network can learn it"
    ]


def test_shards_of_different_images_are_refused(tmp_path: Path) -> None:
    prepare(tmp_path / "one", ["ok"], ["ok"], id=["a"])
    other = prepare(tmp_path / "two", ["ok"], ["ok"], id=["b"])
    (other / "landmarks").rename(tmp_path / "gone")
    (tmp_path / "one" / "landmarks").rename(other / "landmarks")
    with pytest.raises(UserError, match="different images"):
        status.write_status(other, tmp_path / "status")


def test_the_command_prints_what_it_writes(tmp_path: Path, prepared_folder: Path) -> None:
    line = [sys.executable, "-m", "pipeline.status", prepared_folder, "--out", tmp_path / "new" / "status"]
    done = subprocess.run([*line, "--source", "synthetic"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "new" / "status.md").read_text()
    assert "# Unreadable files: 1\n\n- `train_010`\n" in done.stdout
    refused = subprocess.run([*line, "--source", "rafbd"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: there is no source 'rafbd' (did you mean 'rafdb'?)")
