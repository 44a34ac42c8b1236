"""Drawn pictures with dots at known places must give crops with dots where the matrix and the template say."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline import align, plugins
from pipeline.detectors import dataset as dataset_detector
from pipeline.errors import UserError
from pipeline.geometry import TEMPLATE_112, face_box, five_points, rescale, similarity, template, transform
from pipeline.storage import images, shards
from pipeline.types import Detection, Sample
from tests.support.samples import sample, write_index

SIZE = 256


POINTS5 = np.array([[150.2, 118.9], [231.7, 101.3], [199.4, 160.8], [176.1, 207.6], [246.0, 190.2]])


BOX = np.array([120.0, 80.0, 270.0, 240.0])


def picture(points: np.ndarray, width: int = 420, height: int = 330) -> np.ndarray:
    """Soft white dots on dark grey; their centroids are known to a fraction of a pixel."""
    row, column = np.mgrid[:height, :width]
    dots = sum(np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 3.0**2)) for x, y in points)
    return np.repeat(np.rint(220 * np.clip(dots, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def dot_near(image: np.ndarray, place: np.ndarray, radius: int = 14) -> np.ndarray:
    """Centroid of the light around a place."""
    x, y = np.rint(place).astype(int)
    part = image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1, 0].astype(float)
    part[part < 12] = 0  # JPEG's ripples
    row, column = np.mgrid[: part.shape[0], : part.shape[1]]
    return np.array([(part * column).sum(), (part * row).sum()]) / part.sum() + (max(x - radius, 0), max(y - radius, 0))


def test_five_points_land_on_the_template() -> None:
    crop = align.align(
        picture(POINTS5), sample(points5=POINTS5, box=BOX), dataset_detector.detect, size=SIZE, mode="corrected"
    )
    assert crop.status == "ok"
    assert crop.step == "dataset"
    placed = transform(crop.matrix, POINTS5)
    assert np.allclose(crop.matrix, similarity(POINTS5, rescale(TEMPLATE_112, 112, SIZE)))
    assert np.abs(placed - template(SIZE, "corrected")).max() < 12  # these five do not have the template's exact shape
    for place in placed:
        assert np.allclose(dot_near(crop.image, place), place, atol=0.1)


def test_one_image_is_cut_by_a_detection_of_whatever_origin() -> None:
    crop = align.crop_face(picture(POINTS5), Detection(BOX, POINTS5, "several", "plain"), size=SIZE)
    assert (crop.status, crop.step) == ("several", "plain")
    for place in transform(crop.matrix, POINTS5):
        assert np.allclose(dot_near(crop.image, place), place, atol=0.1)
    uncut = align.crop_face(picture(POINTS5, 64, 64), None, size=64)
    assert uncut.status == "whole_image"
    np.testing.assert_array_equal(uncut.image, picture(POINTS5, 64, 64))


def test_published_mode_multiplies_the_template() -> None:
    points = transform(np.array([[1.2, -0.3, 40], [0.3, 1.2, 20]]), TEMPLATE_112)
    crop = align.align(picture(points), sample(points5=points), dataset_detector.detect, size=224, mode="published")
    expected = [(76.589, 103.393), (147.064, 103.003), (112.050, 143.473), (83.099, 184.731), (141.460, 184.408)]
    assert np.allclose(transform(crop.matrix, points), expected, atol=1e-3)
    for place in expected:
        assert np.allclose(dot_near(crop.image, np.array(place)), place, atol=0.1)


@pytest.mark.parametrize("mode", align.MODES)
@pytest.mark.parametrize(
    "box", [BOX, np.array([100.7, 60.2, 190.9, 230.3]), np.array([-30.0, -20.0, 120.0, 130.0]), None]
)
def test_matrix_tells_where_pixels_went_without_points(mode: str, box: np.ndarray | None) -> None:
    dots = np.array([[105.0, 90.0], [165.0, 100.0], [130.0, 150.0]])
    image = picture(dots)
    crop = align.align(image, sample(box=box), dataset_detector.detect, size=SIZE, mode=mode)
    assert crop.status == ("whole_image" if box is None else "box_fallback")
    places = transform(crop.matrix, dots)
    seen = [place for place in places if (place > 20).all() and (place < SIZE - 20).all()]
    assert seen
    for place in seen:
        assert np.allclose(dot_near(crop.image, place), place, atol=0.15)


def test_corrected_box_lies_where_an_aligned_face_has_it() -> None:
    crop = align.align(picture(POINTS5), sample(box=BOX), dataset_detector.detect, size=SIZE, mode="corrected")
    centre, side = face_box(SIZE, "corrected").reshape(2, 2).mean(0), np.ptp(face_box(SIZE, "corrected")[0::2])
    assert np.allclose(crop.box.reshape(2, 2).mean(0), centre)
    assert np.allclose(np.ptp(crop.box[1::2]), side)  # the longer side
    assert np.allclose(np.ptp(crop.box[0::2]), side * 150 / 160)


def test_published_box_is_cut_in_whole_pixels_and_stretched() -> None:
    image = picture(POINTS5)
    box = np.array([100.9, -3.0, 200.2, 150.99])
    crop = align.align(image, sample(box=box), dataset_detector.detect, size=224, mode="published")
    # From pixel 100 to 200 and 0 to 150: the left edge of pixel 100 is the left edge of the crop.
    assert np.allclose(crop.matrix, [[2.24, 0, 2.24 * -99.5 - 0.5], [0, 224 / 150, 224 / 150 * 0.5 - 0.5]])
    assert crop.image.shape == (224, 224, 3)


def test_whole_image_keeps_its_aspect_on_black() -> None:
    image = np.full((100, 200, 3), 200, np.uint8)
    crop = align.align(image, sample(), dataset_detector.detect, size=128, mode="corrected")
    lit = crop.image[..., 0] > 100
    assert lit.any(0).sum() == 128
    assert lit.any(1).sum() == 64
    assert lit.any(1).argmax() == 32
    assert crop.box is None
    stretched = align.align(image, sample(), dataset_detector.detect, size=128, mode="published")
    assert (stretched.image == 200).all()


@pytest.mark.parametrize("box", [[500, 10, 600, 90], [10, 10, 10, 50], [np.nan, 0, 5, 5], [50, 50, 10, 10]])
def test_useless_box_means_whole_image(box: list[float]) -> None:
    for mode in align.MODES:
        crop = align.align(picture(POINTS5), sample(box=np.array(box)), dataset_detector.detect, size=64, mode=mode)
        assert crop.status == "whole_image"


def test_dataset_detector_uses_landmarks_and_refuses_placeholders() -> None:
    image = picture(POINTS5)
    points = np.random.default_rng(0).uniform(50, 200, (68, 2))
    found = dataset_detector.detect(image, sample(landmarks=points))
    assert np.allclose(found.points5, five_points(points))
    assert found.box[0] < found.points5[:, 0].mean() < found.box[2]
    assert dataset_detector.detect(image, sample(box=BOX)) is None
    assert dataset_detector.detect(image, sample(points5=np.zeros((5, 2)))) is None
    assert dataset_detector.detect(image, sample(points5=np.full((5, 2), np.nan))) is None


def test_shard_holds_every_image_of_the_index(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    landmarks = np.random.default_rng(1).uniform(100, 250, (68, 2))
    rows = [
        Sample("good", "good.png", Expression.ANGER, "test", BOX, POINTS5, landmarks, "someone", {"gender": "female"}),
        sample("boxed", box=BOX),
        sample("broken", box=BOX, points5=POINTS5),
        sample("plain"),
        sample("absent"),
    ]
    for name in ("good", "boxed", "plain"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(POINTS5))
    (tmp_path / "broken.png").write_bytes(b"")
    index = write_index(tmp_path / "index.csv", rows)
    options = {"detector": "dataset", "size": 128, "quality": 95, "mode": "corrected"}
    counts = align.align_shard(index, tmp_path, 0, tmp_path / "0.h5", **options)
    assert counts == {"ok": 1, "box_fallback": 1, "whole_image": 1, "unreadable": 2}
    assert "unreadable: broken.png: empty file" in caplog.text
    assert "absent.png" in caplog.text

    stored = shards.read(tmp_path / "0.h5")
    assert list(stored["id"]) == ["good", "boxed", "broken", "plain", "absent"]
    assert list(stored["status"]) == ["ok", "box_fallback", "unreadable", "whole_image", "unreadable"]
    assert list(stored["step"]) == ["dataset", "", "", "", ""]
    assert list(stored["expression"]) == [Expression.ANGER, *[Expression.FEAR] * 4]
    assert list(stored["split"]) == ["test", *["train"] * 4]
    assert list(stored["identity"]) == ["someone", "", "", "", ""]
    assert list(stored["attribute_gender"]) == ["female", "", "", "", ""]
    assert np.isnan(stored["box"]).all(1).tolist() == [False, False, True, True, True]
    assert np.isnan(stored["matrix"]).all((1, 2)).tolist() == [False, False, True, False, True]
    assert np.isnan(stored["source_landmarks"][1:]).all()
    assert np.allclose(stored["source_landmarks"][0], transform(stored["matrix"][0], landmarks), atol=1e-3)
    assert (np.diff(stored["offset"]) > 0).tolist() == [True, True, False, True, False]
    crop = images.decode(stored["jpeg"][: stored["offset"][1]])
    for place in transform(stored["matrix"][0], POINTS5):
        assert np.allclose(dot_near(crop, place, 7), place, atol=0.3)
    kept = shards.Shard(tmp_path / "0.h5").attributes
    assert (kept["size"], kept["detector"], kept["mode"]) == (128, "dataset", "corrected")
    assert shards.Shard(tmp_path / "0.h5").count == 8

    empty = align.align_shard(index, tmp_path, 7, tmp_path / "7.h5", **options)
    assert not empty
    assert shards.read(tmp_path / "7.h5")["source_landmarks"].shape == (0, 68, 2)
    joined = shards.concatenate([shards.read(tmp_path / name) for name in ("0.h5", "7.h5")])
    assert list(joined["id"]) == list(stored["id"])


def test_no_detector_uses_images_as_they_are(tmp_path: Path) -> None:
    face = np.random.default_rng(2).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    none = plugins.load("pipeline.detectors", "none")
    crop = align.align(face, sample(points5=POINTS5), none.detect, size=224, mode="published")
    assert (crop.image == face).all()
    assert np.allclose(crop.matrix, np.eye(2, 3))
    assert crop.status == "whole_image"


def test_missing_root_is_one_message(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index.csv", [sample()])
    with pytest.raises(UserError, match="--root"):
        align.align_shard(
            index, tmp_path / "no", 0, tmp_path / "0.h5", detector="none", size=64, quality=95, mode="corrected"
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "--size: 0 is too small"),
        ({"quality": 900}, "--quality: 900 is no JPEG quality"),
        ({"quality": 0}, "--quality: 0 is no JPEG quality; choose 1 to 100, or raw"),
        ({"shard": 99}, "--shard: there is no shard 99; the index has 0 to 7"),
        ({"shard": -1}, "--shard: there is no shard -1"),
        ({"mode": "mixed"}, "--mode: there is no mode 'mixed'"),
        ({"detector": "dlb"}, "did you mean 'dlib'"),
    ],
)
def test_wrong_values_are_one_message(tmp_path: Path, changes: dict, message: str) -> None:
    index = write_index(tmp_path / "index.csv", [sample()])
    values = {"shard": 0, "detector": "none", "size": 64, "quality": 95, "mode": "corrected", **changes}
    with pytest.raises(UserError, match=message) as caught:
        align.align_shard(index, tmp_path, out=tmp_path / "0.h5", **values)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "0.h5").exists()


def test_a_wrong_label_in_the_index_is_one_message(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index.csv", [sample()])
    index.write_text(index.read_text().replace("fear", "joy"))
    with pytest.raises(UserError, match=r"index\.csv, image a: unknown expression 'joy'"):
        align.align_shard(index, tmp_path, 0, tmp_path / "0.h5", detector="none", size=64, quality=95, mode="corrected")
