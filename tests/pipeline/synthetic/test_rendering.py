"""The synthetic faces: shape, sampling, picture."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline.geometry import MIRROR_68
from pipeline.synthetic.au_table import ACTIVE, AUS, DISPLACEMENTS, PROTOTYPES, displacement
from pipeline.synthetic.face_shape import at_rest, average, with_action_units
from pipeline.synthetic.generate import Shot, draw
from pipeline.synthetic.rendering import render
from pipeline.synthetic.sampling import Identity, active, draw_identity, draw_intensities, draw_view

FLIP = np.array([-1, 1])
MODEL = "models/shape_predictor_68_face_landmarks.dat"


def person(seed: int = 0) -> Identity:
    return draw_identity(np.random.default_rng(seed))


def symmetric_person() -> Identity:
    return replace(person(), asymmetry=np.zeros((68, 2)))


def shot(number: int, expression: Expression = Expression.HAPPINESS, size: int = 128) -> Shot:
    return Shot(seed=3, person=number, split="train", expression=expression, repetition=0, size=size)


def test_average_face_is_its_own_mirror_image() -> None:
    points = average()
    np.testing.assert_array_equal(points[MIRROR_68] * FLIP, points)
    assert np.linalg.norm(points[45] - points[36]) == 1  # the unit


def test_every_au_of_every_expression_is_in_the_table() -> None:
    assert {part.au for parts in PROTOTYPES.values() for part in parts} == set(AUS)
    assert set(PROTOTYPES) == set(Expression)


@pytest.mark.parametrize("au", AUS)
def test_au_moves_landmarks_by_the_table_and_on_its_side_only(au: int) -> None:
    rest = average().astype(float) * 50  # so far apart that no lid or lip is held back
    moved = with_action_units(rest, {au: (0.5, 0)}) - rest
    for landmark, (x, _) in enumerate(average()):
        share = 0.5 if x < 0 else 0.25 if x == 0 else 0  # the midline takes the mean of both sides
        table = np.array(DISPLACEMENTS[au].get(landmark, (0, 0)))
        np.testing.assert_allclose(moved[landmark], share * table, atol=1e-6)


def test_displacements_by_hand() -> None:
    assert displacement(12)[48] == pytest.approx([-0.105, -0.1])
    assert displacement(12)[54] == pytest.approx([0.105, -0.1])
    assert displacement(26)[8] == pytest.approx([0, 0.19])
    assert not displacement(1)[48:].any()


def test_mirrored_intensities_give_the_mirrored_face() -> None:
    rest = at_rest(symmetric_person())
    drawn = {au: (0.2 + 0.03 * au, 1 - 0.02 * au) for au in AUS}
    swapped = {au: (right, left) for au, (left, right) in drawn.items()}
    mirrored = with_action_units(rest, swapped)[MIRROR_68] * FLIP
    np.testing.assert_allclose(with_action_units(rest, drawn), mirrored, atol=1e-6)


def test_lids_and_lips_never_cross() -> None:
    for seed in range(20):
        points = with_action_units(at_rest(person(seed)), dict.fromkeys((6, 7, 9, 17, 23), (1.2, 1.2)))
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            assert points[lower, 1] - points[upper, 1] >= 0.026 - 1e-6
        for upper, lower in ((61, 67), (62, 66), (63, 65), (50, 61), (51, 62), (66, 57)):
            assert points[lower, 1] > points[upper, 1]


@pytest.mark.parametrize("expression", Expression)
def test_only_the_prototypes_aus_are_active(expression: Expression) -> None:
    rng = np.random.default_rng(1)
    may = {part.au for part in PROTOTYPES[expression]}
    must = {part.au for part in PROTOTYPES[expression] if part.probability == 1}
    seen = set()
    for _ in range(400):
        intensities = draw_intensities(rng, expression)
        found = set(active(intensities))
        assert must <= found <= may
        assert all(max(sides) < ACTIVE for au, sides in intensities.items() if au not in may)
        seen |= found
    assert seen == may


def test_the_same_shot_gives_the_same_pixels_and_another_one_does_not() -> None:
    first, again = draw(shot(1))[3], draw(shot(1))[3]
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert np.abs(first.image.astype(int) - draw(shot(2))[3].image).mean() > 10


def test_pictures_of_a_person_differ_in_view_but_not_in_looks() -> None:
    """Identity comes from its own rng: the label cannot reach skin, hair or shape."""
    (happy, *_), (sad, *_) = draw(shot(4)), draw(shot(4, Expression.SADNESS))
    assert happy.seed == sad.seed
    np.testing.assert_array_equal(happy.skin, sad.skin)
    first, second = draw(shot(4))[2], draw(shot(4, Expression.SADNESS))[2]
    assert first.yaw != second.yaw


def test_skin_and_light_do_not_tell_the_expression() -> None:
    """No class mean of 300 draws lies more than four standard errors from the mean of all."""
    views = {expression: [] for expression in Expression}
    for expression, values in views.items():
        for number in range(300):
            view = draw_view(
                np.random.default_rng(np.random.SeedSequence(0, spawn_key=(number, int(expression), 0, 1)))
            )
            values.append((view.yaw, view.light_azimuth, view.ambient, view.exposure, *view.tint))
    every = np.array(list(views.values()))
    distance = np.abs(every.mean(1) - every.mean((0, 1))) / (every.std((0, 1)) / np.sqrt(300))
    assert distance.max() < 4


def test_skin_tones_cover_the_scale() -> None:
    people = [person(seed) for seed in range(600)]
    melanin = np.array([identity.melanin for identity in people])
    tones = [identity.skin_tone for identity in people]
    assert melanin.min() < 0.03
    assert melanin.max() > 0.97
    # melanin = u^0.8, so a third of it is u = (1/3)^1.25
    assert tones.count("light") / 600 == pytest.approx((1 / 3) ** 1.25, abs=0.06)
    assert tones.count("dark") / 600 == pytest.approx(1 - (2 / 3) ** 1.25, abs=0.06)
    brightness = [identity.skin.mean() for identity in people]
    assert np.corrcoef(melanin, brightness)[0, 1] < -0.95


def test_an_opened_mouth_is_dark_between_the_true_inner_lips() -> None:
    """The same head with and without AU 26: between the landmarks the picture turns dark or shows teeth, not skin."""
    view = replace(draw_view(np.random.default_rng(3)), yaw=0, pitch=0, roll=0, blur=0, noise=0)
    someone = replace(symmetric_person(), skin=np.float32([220, 180, 160]))
    opened = render(someone, {26: (1, 1)}, view, 224)
    x, top = opened.landmarks[62]
    bottom = opened.landmarks[66, 1]
    assert bottom - top > 0.15 * view.scale * 224
    inside = opened.image[round(top) + 2 : round(bottom) - 1, round(x), 1]
    chin_row = round(float(opened.landmarks[57, 1] + opened.landmarks[8, 1]) / 2)
    chin = opened.image[chin_row, round(x), 1]
    assert inside.min() < 0.5 * chin


def test_jaw_landmarks_lie_on_the_visible_outline() -> None:
    """Left and right of the cheeks' landmarks the picture changes from skin to what is behind it."""
    view = replace(draw_view(np.random.default_rng(3)), yaw=15, pitch=0, roll=0, blur=0, noise=0)
    someone = replace(
        symmetric_person(), skin=np.float32([220, 180, 160]), long_hair=False, stubble=0, hair_volume=0.03
    )
    image, points = render(someone, {}, view, 224)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    edge = np.abs(cv2.Sobel(grey, cv2.CV_64F, 1, 0))
    for landmark in (3, 4, 12, 13):
        x, y = points[landmark].round().astype(int)
        near, everywhere = edge[y, x - 3 : x + 4].max(), edge[y, x - 25 : x + 26]
        assert near == everywhere.max()


def test_dlib_finds_the_faces_and_their_landmarks() -> None:
    dlib = pytest.importorskip("dlib")
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        pytest.skip("face_recognition_models is not installed")
    predictor = dlib.shape_predictor(str(Path(package.origin).parent / MODEL))
    detector = dlib.get_frontal_face_detector()
    errors = []
    for number in range(35):
        image, truth = draw(shot(number // 7, Expression(number % 7), size=224))[3]
        boxes = detector(image, 0)
        if boxes:
            found = predictor(image, boxes[0])
            points = np.array([(point.x, point.y) for point in found.parts()])
            scale = np.linalg.norm(truth[45] - truth[36])
            errors.append(np.linalg.norm(points - truth, axis=1).mean() / scale)
    assert len(errors) >= 0.95 * 35
    assert np.mean(errors) < 0.07
