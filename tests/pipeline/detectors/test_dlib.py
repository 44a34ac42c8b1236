"""dlib's detector on real faces, which lie beside the repository: ../shared/faces."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import align, plugins
from pipeline.geometry import face_box, rescale
from pipeline.storage import images
from tests.support.samples import sample


@pytest.fixture(scope="module")
def faces(real_faces: Path) -> Path:
    pytest.importorskip("dlib")
    return real_faces / "basic" / "Image" / "original"


def known_box(faces: Path, name: str) -> np.ndarray:
    text = (faces.parents[1] / "Annotation" / "boundingbox" / f"{name}_boundingbox.txt").read_text()
    return np.array([float(word) for word in text.split()[:4]])


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("train_00001", "small"),
        ("train_00130", "plain"),
        ("train_00046", "padded"),
        ("train_00537", "upsampled"),
        ("train_00054", "low_threshold"),
    ],
)
def test_dlib_records_the_step_that_found_the_face(faces: Path, name: str, step: str) -> None:
    detector = plugins.load("pipeline.detectors", "dlib")
    found = detector.detect(images.read(faces / f"{name}.jpg"), sample(box=known_box(faces, name)))
    assert (found.step, found.status) == (step, "ok")


def test_dlib_takes_the_face_that_the_dataset_means(faces: Path) -> None:
    detector = plugins.load("pipeline.detectors", "dlib")
    left, right = (images.read(faces / f"train_0000{number}.jpg") for number in (1, 2))
    both = np.hstack([left, right])
    for shift in (0, left.shape[1]):
        box = known_box(faces, "train_00001") + np.array([shift, 0, shift, 0])
        found = detector.detect(both, sample(box=box))
        assert found.status == "several"
        assert shift < found.points5[:, 0].mean() < shift + left.shape[1]
    beside = np.array([0.0, 0.0, 20.0, 20.0])
    assert detector.detect(left, sample(box=beside)) is None


def test_dlib_sees_the_same_points_at_every_image_size(faces: Path) -> None:
    detector = plugins.load("pipeline.detectors", "dlib")
    image = images.read(faces / "train_00001.jpg")
    base = detector.detect(image, sample()).points5
    for side in (150, 700, 1400):
        resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if side < 350 else cv2.INTER_CUBIC)
        found = rescale(detector.detect(resized, sample()).points5, side, image.shape[0])
        assert np.abs(found - base).max() < 0.05 * np.hypot(*(base[1] - base[0]))


def test_dlib_finds_most_of_a_fixed_sample(faces: Path) -> None:
    """Every 36th face: 40 faces, of which at least nine in ten are found and lie upright on the template."""
    detector = plugins.load("pipeline.detectors", "dlib")
    names = sorted(path.stem for path in faces.iterdir())[::36]
    crops = [
        align.align(
            images.read(faces / f"{n}.jpg"),
            sample(box=known_box(faces, n)),
            detector.detect,
            size=256,
            mode="corrected",
        )
        for n in names
    ]
    found = [crop for crop in crops if crop.status in ("ok", "several")]
    assert len(names) == 40
    assert len(found) >= 37
    assert {crop.status for crop in crops} <= {"ok", "several", "box_fallback"}
    boxes = np.array([crop.box for crop in found])
    assert np.abs(np.median(boxes, 0) - face_box(256, "corrected")).max() < 0.04 * 256
