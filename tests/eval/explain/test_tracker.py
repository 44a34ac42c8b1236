"""Faces of a video keep their numbers."""

import numpy as np

from eval.explain.video import FaceTracker


def test_faces_keep_their_numbers():
    tracker = FaceTracker()
    left, right = np.array([0.0, 0, 10, 10]), np.array([50.0, 0, 60, 10])
    assert tracker.assign(0, [left, right]) == [0, 1]
    assert tracker.assign(1, [right + 2, left + 1]) == [1, 0]
    assert tracker.assign(2, [right + 3]) == [1]
    assert tracker.assign(5, [left + 2, right + 4]) == [0, 1]
    assert tracker.assign(40, [left]) == [2]  # long gone
