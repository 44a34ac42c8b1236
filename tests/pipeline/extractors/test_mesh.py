"""FaceMesh as an extractor, and where extractors look, on drawn faces whose landmarks are known."""

from pathlib import Path

import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline import align, landmarks
from pipeline.crop import crop_face
from pipeline.detectors import _mediapipe, blaze
from pipeline.geometry import MIRROR_68, MODES, transform
from pipeline.index import build_index
from pipeline.storage import shards
from pipeline.synthetic.generate import Shot, draw, generate
from tests.support.samples import sample

REGIONS = {"brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces of four people and their index."""
    folder = tmp_path_factory.mktemp("drawn")
    generate(folder / "images", identities_train=3, identities_test=1, size=160, seed=7)
    build_index("synthetic", folder / "images", 1, folder / "index.csv")
    return folder


def prepare(folder: Path, detector: str, extractor: str, mode: str = "face") -> tuple[shards.Columns, shards.Columns]:
    settings = {"detector": detector, "size": 128, "quality": 95, "mode": mode}
    align.align_shard(folder / "index.csv", folder / "images", 0, folder / "f.h5", **settings)
    landmarks.extract_landmarks(folder / "f.h5", folder / "l.h5", extractor)
    return shards.read(folder / "f.h5"), shards.read(folder / "l.h5")


def errors(faces: shards.Columns, found: shards.Columns) -> np.ndarray:
    """Distance of each landmark (n, 68) from the truth, in units of the distance of the outer eye corners."""
    truth = faces["source_landmarks"]
    scale = np.linalg.norm(truth[:, 45] - truth[:, 36], axis=1)[:, None]
    return np.linalg.norm(found["points"] - truth, axis=2) / scale


def inside(faces: shards.Columns) -> float:
    """Share of the landmarks that lie in the crops."""
    truth = faces["source_landmarks"]
    return float(((truth > -0.5) & (truth < 127.5)).all(2).mean())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extractor", ["mesh", "dlib"])
def test_landmarks_lie_on_the_drawn_ones_in_every_crop(drawn: Path, extractor: str, mode: str) -> None:
    faces, found = prepare(drawn, "blaze", extractor, mode)
    assert set(faces["status"]) == {"ok"}
    assert set(found["status"]) == {"ok"}
    away = errors(faces, found)
    for first, last in REGIONS.values():
        assert away[:, first:last].mean() < 0.08
    assert away.mean() < 0.07
    if extractor == "mesh":
        assert (found["quality"] > 0.9).all()


def test_the_chin_below_the_published_crop_is_seen(drawn: Path) -> None:
    """The published crop ends above the chin; extractors look at the view, which holds it."""
    faces, found = prepare(drawn, "blaze", "dlib", "corrected")
    below = faces["source_landmarks"][:, 8, 1] > 127.5
    assert below.mean() > 0.6
    assert errors(faces, found)[:, 6:11].mean() < 0.08
    assert inside(faces) < 0.95
    assert inside(prepare(drawn, "blaze", "dlib")[0]) > 0.999


def test_pictures_that_are_faces_already_need_no_detector(drawn: Path) -> None:
    faces, found = prepare(drawn, "none", "mesh")
    assert set(faces["status"]) == {"whole_image"}
    assert set(found["status"]) == {"redetected"}
    assert errors(faces, found).mean() < 0.08


def test_a_crop_without_a_face_has_no_landmarks() -> None:
    crop = crop_face(np.full((90, 120, 3), 80, np.uint8), None, size=96)
    assert landmarks.place_landmarks(crop, "face", "mesh")[0] is None
    assert landmarks.place_landmarks(crop, "face", "dlib")[0] is None


def test_shards_without_views_are_read_from_the_crop(drawn: Path) -> None:
    faces, found = prepare(drawn, "blaze", "mesh")
    stored = shards.Shard(drawn / "f.h5")
    old = {name: values for name, values in faces.items() if not name.startswith("view_")}
    shards.write(drawn / "old.h5", old, of=stored.count, **stored.attributes)
    landmarks.extract_landmarks(drawn / "old.h5", drawn / "p.h5", "mesh")
    again = shards.read(drawn / "p.h5")
    assert np.linalg.norm(again["points"] - found["points"], axis=2).mean() < 2  # of 128 px


def test_a_mirrored_face_has_mirrored_landmarks() -> None:
    picture, _ = draw(Shot(3, 4, "train", Expression.HAPPINESS, 0, 160))[3]
    points = []
    for image in (picture, np.ascontiguousarray(picture[:, ::-1])):
        crop = crop_face(image, blaze.detect(image, sample()), size=128)
        found, quality = landmarks.place_landmarks(crop, "face", "mesh")
        assert quality > 0.9
        inverse = np.linalg.inv(np.vstack([crop.matrix, (0, 0, 1)]))[:2]
        points.append(transform(inverse, found))
    back = points[1][MIRROR_68] * (-1, 1) + (159, 0)
    assert np.linalg.norm(points[0] - back, axis=1).mean() < 2.5  # of 160 px


def test_the_68_points_are_mirror_pairs_of_the_mesh() -> None:
    """Mirror images lie on mirrored points: the mapping names each point once, and pairs agree on a drawn face."""
    assert len(set(_mediapipe.MESH_68)) == 68
    assert _mediapipe.MESH_68.max() < _mediapipe.N_POINTS
