"""Extractors on faces whose landmarks are known: carried along, read from a file, or predicted on real faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline import align, landmarks, plugins
from pipeline.crop import crop_face
from pipeline.errors import UserError
from pipeline.extractors import face_alignment as fan
from pipeline.geometry import five_points, rescale, template
from pipeline.index import build_index
from pipeline.storage import images, shards
from pipeline.types import Detection
from tests.support.faces import face_picture, mean_face

SIZE = 224


def write_faces(
    path: Path, statuses: Sequence[str], ids: Sequence[str] = (), size: int = SIZE, **known: np.ndarray
) -> Path:
    """Write a face shard without alignment, and without views unless there is one; unreadable rows have no bytes."""
    count = len(statuses)
    picture = images.encode(face_picture(Expression.ANGER, np.random.default_rng(0)))
    files = [picture[:0] if status == "unreadable" else picture for status in statuses]
    columns = {
        "id": np.array(ids or [f"face_{row}" for row in range(count)], object),
        "split": np.array(["train" if row % 2 else "test" for row in range(count)], object),
        "expression": np.array([row % 7 for row in range(count)], np.int8),
        "status": np.array(statuses, object),
        "jpeg": np.concatenate(files),
        "offset": np.cumsum([0, *map(len, files)]),
        "box": known.get("box", np.full((count, 4), np.nan, np.float32)),
        "source_landmarks": known.get("source_landmarks", np.full((count, 68, 2), np.nan, np.float32)),
    }
    if "view" in known:
        view = images.encode(known["view"], None)
        columns |= {"view_jpeg": np.tile(view, count), "view_offset": len(view) * np.arange(count + 1)}
    shards.write(path, columns, size=size, detector="none", mode="face")
    return path


def extract(faces: Path, extractor: str, **options: str) -> dict[str, np.ndarray]:
    out = faces.parent / "out.h5"
    landmarks.extract_landmarks(faces, out, extractor, options)
    return shards.read(out)


def test_landmarks_of_one_crop_are_those_of_its_shard(tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    picture = images.decode(images.encode(face_picture(Expression.ANGER, np.random.default_rng(0))))
    crop = crop_face(picture, Detection(np.zeros(4), template(224), "ok", "plain"), size=224)
    points, _ = landmarks.place_landmarks(crop, "face", "dlib")
    stored = extract(write_faces(tmp_path / "0.h5", ["ok"], view=crop.view), "dlib")
    np.testing.assert_allclose(points, stored["points"][0], atol=1e-4)
    assert landmarks.place_landmarks(crop, "face", "dataset")[0] is None


def test_dataset_landmarks_are_carried_along(tmp_path: Path) -> None:
    own = np.full((4, 68, 2), np.nan, np.float32)
    own[0] = mean_face()
    own[1] = mean_face() + np.array([180, 0])  # most of the face beyond the right edge
    own[2, :60] = 5.0  # cut short
    stored = extract(write_faces(tmp_path / "0.h5", ["ok", "ok", "ok", "unreadable"], source_landmarks=own), "dataset")
    assert list(stored["status"]) == ["ok", "outside", "no_points", "unreadable"]
    assert np.allclose(stored["points"][0], mean_face(), atol=1e-4)
    assert np.allclose(stored["points"][1], mean_face() + np.array([180, 0]), atol=1e-4)  # kept all the same
    assert np.isnan(stored["points"][2:]).all()
    assert np.isnan(stored["quality"]).all()
    kept = shards.Shard(tmp_path / "out.h5").attributes
    assert (kept["extractor"], kept["size"]) == ("dataset", SIZE)


def published_line(name: str, points: np.ndarray) -> str:
    return ",".join([name, *map(str, points[:, 0]), *map(str, points[:, 1])]) + "\n"


def test_published_file(tmp_path: Path) -> None:
    face = mean_face()
    lines = [
        published_line("basic/Image/our_aligned/train_00002.jpg", face),
        published_line("basic/Image/our_aligned/train_00001.jpg", face + 1.5),
        published_line("basic/Image/our_aligned/train_00003.jpg", np.full((68, 2), np.inf)),
        published_line("basic/Image/our_aligned/train_00009.jpg", face),  # nobody asks for it
    ]
    (tmp_path / "landmarks.txt").write_text("".join(lines))
    ids = ["train_00001", "train_00002", "train_00003", "train_00004"]
    faces = write_faces(tmp_path / "0.h5", ["ok", "box_fallback", "ok", "ok"], ids, size=256)
    stored = extract(faces, "published", file=str(tmp_path / "landmarks.txt"))
    assert list(stored["status"]) == ["ok", "ok", "no_face", "not_listed"]
    assert np.allclose(stored["points"][0], (face + 2.0) * 256 / 224 - 0.5, atol=1e-4)
    assert np.allclose(stored["points"][1], (face + 0.5) * 256 / 224 - 0.5, atol=1e-4)
    assert np.isnan(stored["points"][2:]).all()


def test_published_file_of_affectnet_keeps_train_and_validation_apart(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(published_line("train_set/images/12.jpg", mean_face()))
    (tmp_path / "val.txt").write_text(published_line("val_set/images/12.jpg", mean_face() + 3))
    ids = ["val_set/images/12.jpg", "train_set/images/12.jpg"]
    faces = write_faces(tmp_path / "0.h5", ["ok", "ok"], ids)
    stored = extract(faces, "published", file=f"{tmp_path / 'train.txt'},{tmp_path / 'val.txt'}")
    assert np.allclose(stored["points"], np.stack([mean_face() + 3, mean_face()]), atol=1e-4)


def test_published_file_cannot_tell_images_of_one_name_apart(tmp_path: Path) -> None:
    (tmp_path / "landmarks.txt").write_text(published_line("0.jpg", mean_face()))
    faces = write_faces(tmp_path / "0.h5", ["ok"] * 3, ["train/anger/0.jpg", "train/anger/1.jpg", "test/fear/0.jpg"])
    with pytest.raises(UserError, match=r"cannot tell train/anger/0\.jpg from test/fear/0\.jpg"):
        extract(faces, "published", file=str(tmp_path / "landmarks.txt"))


@pytest.mark.parametrize(
    "line", ["train_00001.jpg,1,2,3\n", "train_00001.jpg," + ",".join(["x"] * 136) + "\n", "oops\n"]
)
def test_published_file_names_the_malformed_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "landmarks.txt").write_text(published_line("train_00002.jpg", mean_face()) + line)
    faces = write_faces(tmp_path / "0.h5", ["ok"], ["train_00001"])
    with pytest.raises(UserError, match=r"landmarks\.txt, line 2"):
        extract(faces, "published", file=str(tmp_path / "landmarks.txt"))


def test_options_are_checked(tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "0.h5", ["ok"])
    with pytest.raises(UserError, match="the option file"):
        extract(faces, "published")
    with pytest.raises(UserError, match=r"no option 'fil'; it has: file"):
        extract(faces, "published", fil="x")
    with pytest.raises(UserError, match=r"nowhere\.txt cannot be read"):
        extract(faces, "published", file="nowhere.txt")
    with pytest.raises(UserError, match="--option file: write it as key=value"):
        plugins.parse_options(["file"])
    assert plugins.parse_options(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}


# --- dlib on real faces


@pytest.fixture(scope="module")
def prepared(real_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first of 36 shards of the real faces (about 40), aligned with dlib."""
    pytest.importorskip("dlib")
    folder = tmp_path_factory.mktemp("real")
    build_index("rafdb", real_faces, 36, folder / "index.csv")
    options = {"detector": "dlib", "size": SIZE, "quality": 95, "mode": "corrected"}
    align.align_shard(folder / "index.csv", real_faces, 0, folder / "faces" / "0.h5", **options)
    landmarks.extract_landmarks(folder / "faces" / "0.h5", folder / "landmarks" / "0.h5", "dlib")
    return folder


def test_dlib_landmarks_agree_with_the_alignment(prepared: Path) -> None:
    faces, stored = (shards.read(prepared / stage / "0.h5") for stage in ("faces", "landmarks"))
    aligned = np.isin(faces["status"], ("ok", "several"))
    assert aligned.mean() >= 0.92
    assert (stored["status"][aligned] == "ok").all()
    # Two predictions, on the image and on the upright crop, of which the first put the face onto the template.
    away = [np.abs(five_points(points) - template(SIZE, "corrected")).mean() for points in stored["points"][aligned]]
    assert np.median(away) < 0.03 * SIZE
    inside = (stored["points"][aligned][:, 17:] > 0) & (stored["points"][aligned][:, 17:] < SIZE)
    assert inside.mean() > 0.99
    assert np.isnan(stored["quality"]).all()
    assert not np.isinf(stored["points"]).any()


def test_dlib_leaves_faces_that_nobody_saw(tmp_path: Path, prepared: Path) -> None:
    faces = write_faces(tmp_path / "0.h5", ["ok", "box_fallback", "whole_image", "unreadable"], size=96)
    stored = extract(faces, "dlib")
    assert list(stored["status"]) == ["ok", "no_face", "no_face", "unreadable"]
    assert np.isfinite(stored["points"][0]).all()
    assert np.isnan(stored["points"][1:]).all()


def test_dlib_looks_again_into_crops_that_no_detector_has_seen(
    tmp_path: Path, prepared: Path, real_faces: Path
) -> None:
    options = {"detector": "none", "size": SIZE, "quality": 95, "mode": "published"}
    align.align_shard(prepared / "index.csv", real_faces, 0, tmp_path / "0.h5", **options)
    stored = extract(tmp_path / "0.h5", "dlib")
    seen = stored["status"] == "redetected"
    assert set(stored["status"]) <= {"redetected", "no_face"}
    assert seen.mean() > 0.8
    assert (np.isfinite(stored["points"]).all((1, 2)) == seen).all()


# --- face_alignment, with random weights of the right architecture


def test_missing_and_damaged_weights_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(UserError) as missing:
        fan.find_weights(str(tmp_path / "weights"))
    for word in (fan.FILE, fan.URL, str(tmp_path / "weights"), str(tmp_path / "torch" / "hub" / "checkpoints")):
        assert word in str(missing.value)
    cache = tmp_path / "torch" / "hub" / "checkpoints" / fan.FILE
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"damaged: its SHA-256 is [0-9a-f]{10}"):
        fan.find_weights(str(tmp_path / "weights"))


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from face_alignment.models import FAN

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / fan.FILE
    torch.save(FAN(4).state_dict(), path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.slow
def test_face_alignment_runs_on_one_face(tmp_path: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from face_alignment.models import FAN

    monkeypatch.setattr(fan, "_check", lambda path: None)
    boxes = np.full((3, 4), np.nan, np.float32)
    boxes[1] = (20, 20, 70, 80)
    faces = write_faces(tmp_path / "0.h5", ["unreadable", "box_fallback", "whole_image"], size=96, box=boxes)
    stored = extract(faces, "face_alignment", weights=str(random_weights.parent), device="cpu", batch="2")
    assert list(stored["status"]) in (["unreadable", "from_box", "no_face"], ["unreadable", "outside", "no_face"])
    assert np.isfinite(stored["points"]).all((1, 2)).tolist() == [False, True, False]

    network = FAN(4).eval()
    network.load_state_dict(torch.load(random_weights, weights_only=True))
    columns = shards.read(faces)
    crop = images.decode(columns["jpeg"][columns["offset"][1] : columns["offset"][2]])
    matrix = fan.window(boxes[1].astype(float))
    shown = torch.from_numpy(fan.warp(crop, matrix, 256)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        maps = network(shown)[-1][0].numpy()
    row, column = np.unravel_index(maps.reshape(68, -1).argmax(1), (64, 64))
    scale, shift = matrix[0, 0], matrix[:, 2]
    expected = (rescale(np.stack([column, row], 1), 64, 256) - shift) / scale
    assert np.abs(stored["points"][1] - expected).max() <= 0.25 * 4 / scale + 1e-3
    heights = np.clip(maps.reshape(68, -1).max(1), 0, 1)
    assert stored["quality"][1] == pytest.approx(heights.mean(), abs=1e-5)
    assert np.isnan(stored["quality"][[0, 2]]).all()


def test_face_alignment_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan, "find_weights", lambda folder: tmp_path)
    faces = write_faces(tmp_path / "0.h5", ["ok"])
    with pytest.raises(UserError, match="device"):
        extract(faces, "face_alignment", device="quantum")
    monkeypatch.setattr(fan, "_network", lambda path, device: (None, None))
    with pytest.raises(UserError, match="batch"):
        extract(faces, "face_alignment", batch="none")
    with pytest.raises(UserError, match="option flip: 'maybe' is neither true nor false"):
        extract(faces, "face_alignment", flip="maybe")
