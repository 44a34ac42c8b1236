"""Faces of turned pictures, in pixels of the picture as it was given."""

import numpy as np
import pytest

from eval.explain.explainer import Explainer
from eval.explain.turning import quarter_turns, search_turned
from pipeline.storage import images
from pipeline.types import Detection

DOT = np.array([30, 10])  # x, y of a bright pixel


def dot_image():
    image = np.zeros((40, 60, 3), np.uint8)
    image[DOT[1], DOT[0]] = 255
    return image


def find_dot(image):
    """Find the dot where it is in the upper half of an upright picture."""
    (y,), (x,) = np.nonzero(image[..., 0])
    box = np.array([x - 2.0, y - 1, x + 2, y + 1])
    return [Detection(box, np.array([[x, y]] * 5, float), "ok", "plain")]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_boxes_and_points_are_those_of_the_picture(turns):
    image = dot_image()

    def search(turned):
        return find_dot(turned) if np.array_equal(turned, np.rot90(image, turns)) else []

    (face,) = search_turned(image, search)
    np.testing.assert_array_equal(face.points5, [DOT] * 5)
    half = (2, 1) if turns == 2 else (1, 2)
    np.testing.assert_array_equal(face.box, [*(DOT - half), *(DOT + half)])


def test_doubtful_faces_of_turned_pictures_are_none():
    doubtful = Detection(np.array([0.0, 0, 9, 9]), np.zeros((5, 2)), "ok", "low_threshold")
    assert search_turned(dot_image(), lambda image: [doubtful]) == []


@pytest.mark.parametrize(
    ("degrees", "turned"), [(0, 0), (40, 0), (-55, 0), (85, 90), (-90, 270), (175, 180), (-170, 180)]
)
def test_the_turn_of_a_face_in_its_picture(degrees, turned):
    angle = np.radians(-degrees)  # what turns the face upright again
    matrix = 2 * np.array([[np.cos(angle), -np.sin(angle), 5], [np.sin(angle), np.cos(angle), 7]])
    assert quarter_turns(matrix) == turned


@pytest.mark.slow
@pytest.mark.parametrize(("turns", "degrees"), [(1, 270), (2, 180), (3, 90)])
def test_a_turned_picture_is_explained_and_the_turn_is_said(trained, turns, degrees):
    explainer = Explainer(trained / "run" / "checkpoint.safetensors")
    picture = images.read(sorted((trained / "generated").rglob("*.jpg"))[0])
    (upright,) = explainer.explain(picture)
    turned = np.ascontiguousarray(np.rot90(picture, turns))
    (face,) = explainer.explain(turned)
    assert not any("turned by" in warning for warning in upright.warnings)
    assert f"the face lies turned by {degrees} degrees in the picture" in face.warnings
    left, top, right, bottom = face.box
    assert -20 < left < right < turned.shape[1] + 20
    assert -20 < top < bottom < turned.shape[0] + 20
    assert np.abs(face.face.astype(float) - upright.face).mean() < 25
