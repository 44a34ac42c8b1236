"""Heatmap shards: small, and the drawn maps equal those of the landmarks."""

import numpy as np
import pytest

from au_guidance.expressions import SIX
from au_guidance.heatmap import draw, render
from pipeline import heatmaps
from pipeline.errors import UserError
from pipeline.geometry import rescale
from pipeline.storage import shards


def test_heatmap_shards_are_small_and_exact(tmp_path):
    golden = np.load("tests/golden/au_maps.npz")["landmarks"]
    points = np.concatenate([golden, np.full((1, 68, 2), np.nan)]).astype(np.float32)
    columns = {"id": np.array(list("abcd")), "points": points}
    shards.write(tmp_path / "l.h5", columns, of=7, size=256, extractor="dlib")
    for geometry in ("published", "symmetric"):
        heatmaps.build_heatmaps(tmp_path / "l.h5", tmp_path / "h.h5", geometry)
        assert shards.Shard(tmp_path / "h.h5").count == 7
        rows = shards.read(tmp_path / "h.h5")["shapes"]
        assert rows[0].nbytes <= 2000
        for face, stored in zip(points, rows, strict=True):
            for expression in SIX:
                expected = render(rescale(face.astype(float), 256, 224), expression, 224, geometry=geometry)
                drawn = draw(stored, expression, geometry=geometry)
                if expected is None:
                    assert drawn is None
                else:
                    np.testing.assert_allclose(drawn, expected, atol=1 / 255)


def test_a_shard_names_what_it_was_made_from_and_other_faces_are_refused(tmp_path):
    for stage in ("faces", "landmarks", "heatmaps"):
        (tmp_path / stage).mkdir()
    faces, landmarks, out = (tmp_path / stage / "0.h5" for stage in ("faces", "landmarks", "heatmaps"))
    columns = {"id": np.array(["a"]), "points": np.zeros((1, 68, 2), np.float32)}
    shards.write(faces, {"id": np.array(["a"])}, of=1, size=256)
    before = shards.Shard(faces).sha256
    shards.write(landmarks, columns, of=1, size=256, faces_sha256=before)
    heatmaps.build_heatmaps(landmarks, out, "published")
    made = shards.Shard(out)
    assert made.parents == {"faces": before, "landmarks": shards.Shard(landmarks).sha256}
    assert made.attributes == {"geometry": "published"}
    shards.write(faces, {"id": np.array(["a"])}, of=1, size=224)
    with pytest.raises(UserError, match=r"landmarks/0\.h5 was made from another \S+faces/0\.h5; delete it and run"):
        heatmaps.build_heatmaps(landmarks, out, "published")
    shards.write(landmarks, columns, of=1, size=256)  # as an earlier version did
    heatmaps.build_heatmaps(landmarks, out, "published")
    assert list(shards.Shard(out).parents) == ["landmarks"]
