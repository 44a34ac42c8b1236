"""Landmarks of stored shards lie on the 224-px canvas."""

import numpy as np

from pipeline.storage import shards
from pipeline.storage.landmarks import read_landmarks, to_canvas


def test_landmarks_of_a_shard_and_of_a_folder_are_moved_to_the_canvas(tmp_path):
    points = np.full((2, 68, 2), np.nan, np.float32)
    points[0, :, 0], points[0, :, 1] = 127.5, -0.5  # the middle and the edge of a 256-px crop
    for number, ids in enumerate((["a", "b"], ["c", "d"])):
        shards.write(tmp_path / f"{number}.h5", {"id": ids, "points": points}, of=2, size=256)
    moved = read_landmarks(shards.Shard(tmp_path / "0.h5"))
    assert moved.dtype == np.float64
    np.testing.assert_array_equal(moved[0, 67], (111.5, -0.5))
    assert np.isnan(moved[1]).all()
    np.testing.assert_array_equal(read_landmarks(shards.ShardFolder(tmp_path)), np.concatenate([moved, moved]))
    np.testing.assert_array_equal(to_canvas(points, 256), moved)
