"""Light, sharpness, padding and head turn of constructed faces, and the warnings of hard ones."""

import cv2
import numpy as np
import pytest

from eval.explain.conditions import measure
from tests.support.explained import explanation
from tests.support.faces import mean_face

WHOLE = np.array([[1.0, 0, 0], [0, 1, 0]])  # the picture is the crop, 224 px
POINTS = mean_face()
SHAPE = (224, 224, 3)
rng = np.random.default_rng(0)
# Light from one side, and details of seven pixels.
DETAILS = np.kron(rng.integers(-40, 40, (32, 32)), np.ones((7, 7)))
TEXTURE = np.repeat((np.linspace(60, 190, 224) + DETAILS)[..., None].astype(np.uint8), 3, axis=2)


def test_brightness_is_the_median_of_the_middle():
    crop = np.full(SHAPE, 30, np.uint8)
    crop[:30] = 255
    conditions = measure(crop, WHOLE, SHAPE, POINTS)
    assert conditions.brightness == 30
    assert conditions.sharpness == 0
    assert conditions.warnings == ["the face is dark", "the face is blurred"]


def test_a_blurred_face_has_less_sharpness():
    values = [measure(cv2.GaussianBlur(TEXTURE, (0, 0), sigma), WHOLE, SHAPE, None).sharpness for sigma in (2, 6, 12)]
    assert values[0] > values[1] > values[2]
    assert measure(TEXTURE, WHOLE, SHAPE, None).warnings == []
    assert measure(cv2.GaussianBlur(TEXTURE, (0, 0), 24), WHOLE, SHAPE, None).warnings == ["the face is blurred"]


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_sharpness_does_not_depend_on_contrast(factor):
    flat = (100 + factor * (TEXTURE.astype(float) - 100)).astype(np.uint8)
    expected = measure(TEXTURE, WHOLE, SHAPE, None).sharpness
    assert measure(flat, WHOLE, SHAPE, None).sharpness == pytest.approx(expected, rel=0.02)


def test_padding_is_what_lies_outside_the_picture():
    right_half = np.array([[1.0, 0, 112], [0, 1, 0]])  # the picture begins in the middle of the crop
    conditions = measure(TEXTURE, right_half, SHAPE, POINTS)
    assert conditions.padding == pytest.approx(0.5, abs=0.02)
    assert conditions.cut_off == pytest.approx(0.5, abs=0.05)
    assert conditions.warnings == [f"{100 * conditions.cut_off:.0f} % of the face lies outside the picture"]
    small = measure(TEXTURE, WHOLE, (112, 112, 3), None)
    assert small.padding == pytest.approx(0.75, abs=0.02)
    assert small.cut_off is None
    assert small.warnings == [f"{100 * small.padding:.0f} % of the face's crop lies outside the picture"]
    whole = measure(TEXTURE, WHOLE, SHAPE, POINTS)
    assert (whole.padding, whole.cut_off) == (0, 0)


def test_turn_compares_the_nose_with_the_eye_corners():
    points = POINTS.copy()
    left, right = points[36].copy(), points[45].copy()
    for share, turn in ((0.5, 0), (0.25, 0.5), (0.9, 0.8), (1.2, 1)):
        points[30] = left + share * (right - left) + (0, 40)
        conditions = measure(TEXTURE, WHOLE, SHAPE, points)
        assert conditions.turn == pytest.approx(turn, abs=0.02)
        assert ("turned" in " ".join(conditions.warnings)) == (turn > 0.75)


def test_an_explanation_warns_of_its_conditions_and_of_a_small_face():
    dark = measure(np.zeros(SHAPE, np.uint8), WHOLE, SHAPE, None)
    face = explanation(conditions=dark, matrix=WHOLE * 7)
    assert face.warnings[:3] == [
        "the face is small: 32 pixels a side were cut out for the network",
        "the face is dark",
        "the face is blurred",
    ]
    assert not [warning for warning in explanation().warnings if "small" in warning]


def test_a_network_of_drawn_faces_says_so_first():
    warning = "the network was trained on drawn faces; about a photograph its answer means nothing"
    assert explanation(domain="drawings").warnings[0] == warning
    assert f"warning: {warning}" in explanation(domain="drawings").words
    assert warning not in explanation().warnings
