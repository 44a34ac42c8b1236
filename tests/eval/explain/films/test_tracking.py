"""Faces of a film keep their numbers, until a cut."""

import numpy as np

from eval.explain.films.tracking import FaceTracker

LEFT, RIGHT = np.array([0.0, 0, 10, 10]), np.array([50.0, 0, 60, 10])
STILL = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def face(seed):
    return np.random.default_rng(seed).integers(0, 256, (14, 14, 3), np.uint8).repeat(16, 0).repeat(16, 1)


def assign(tracker, number, boxes, frame=STILL, faces=None):
    return tracker.assign(number, frame, boxes, faces or [face(0)] * len(boxes))


def test_faces_keep_their_numbers():
    tracker = FaceTracker()
    assert assign(tracker, 0, [LEFT, RIGHT]) == [1, 2]
    assert assign(tracker, 1, [RIGHT + 2, LEFT + 1]) == [2, 1]
    assert assign(tracker, 2, [RIGHT + 3]) == [2]
    assert assign(tracker, 5, [LEFT + 2, RIGHT + 4]) == [1, 2]
    assert assign(tracker, 40, [LEFT]) == [3]  # long gone
    assert tracker.n_faces == 3


def test_all_numbers_end_at_a_cut():
    tracker = FaceTracker()
    other = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    other[:32] //= 4
    assert assign(tracker, 0, [LEFT]) == assign(tracker, 1, [LEFT]) == [1]
    assert assign(tracker, 2, [LEFT], other) == [2]
    assert assign(tracker, 3, [LEFT], other) == [2]
    assert assign(tracker, 4, [LEFT], STILL) == [3]


def test_a_change_of_light_is_no_cut():
    tracker = FaceTracker()
    assign(tracker, 0, [LEFT], STILL // 2)
    assert assign(tracker, 1, [LEFT], STILL // 2 + np.uint8(60)) == [1]


def test_another_person_in_the_same_place_gets_another_number():
    tracker = FaceTracker()
    assert assign(tracker, 0, [LEFT, RIGHT], faces=[face(0), face(1)]) == [1, 2]
    assert assign(tracker, 1, [LEFT, RIGHT], faces=[face(0), face(2)]) == [1, 3]


def test_a_face_must_be_more_alike_where_the_frame_has_changed():
    """A cut within one room changes the frame little."""
    mixed = (face(0).astype(int) * 0.55 + face(1) * 0.45).astype(np.uint8)  # correlation about 0.75
    moved = STILL.copy()
    moved[:, :12] = 0
    for frame, numbers in ((STILL, [1]), (moved, [2])):
        tracker = FaceTracker()
        assign(tracker, 0, [LEFT])
        assert assign(tracker, 1, [LEFT], frame, [mixed]) == numbers
