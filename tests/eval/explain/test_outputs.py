"""What is written about a picture: numbers from 1, the overview, and what is left out without faces."""

import json

import numpy as np
import pytest
from PIL import Image

from eval.explain.outputs import arrays, document, write_files
from eval.explain.panel import WIDTH, draw_overview, draw_panel, draw_stand_in
from tests.support.explained import explanation

PICTURE = np.full((200, 400, 3), 40, np.uint8)
BOXES = [(10, 60, 90, 140), (210, 60, 290, 140)]


def two_faces():
    return [explanation(box=box, shade=shade) for box, shade in zip(BOXES, (100, 180), strict=True)]


def test_faces_are_numbered_from_1_in_every_file(tmp_path):
    write_files(tmp_path / "group", "group.jpg", two_faces(), PICTURE)
    content = json.loads((tmp_path / "group.json").read_text())
    assert content == json.loads(json.dumps(document("group.jpg", two_faces())))
    assert [face["number"] for face in content["faces"]] == [1, 2]
    with np.load(tmp_path / "group.npz") as stored:
        assert {name.partition("_")[0] for name in stored.files} == {"face1", "face2"}
        assert (stored["face1"] == 100).all()
        assert (stored["face2"] == 180).all()


def test_the_crop_size_is_the_side_of_the_crop_in_the_picture():
    assert explanation().crop_size == 112  # 224 pixels of the crop at two for one
    turned = np.array([[0.0, -4, 3], [4, 0, 5]])
    assert explanation(matrix=turned).crop_size == pytest.approx(56)
    assert document("x", [explanation()])["faces"][0]["crop_size"] == 112


def test_several_faces_stand_below_their_picture_with_numbered_boxes():
    one, many = draw_panel(two_faces()[:1], PICTURE), draw_panel(two_faces(), PICTURE)
    assert one.shape[1] == many.shape[1] == WIDTH
    assert many.shape[0] == 2 * one.shape[0] + 200 + 24
    np.testing.assert_array_equal(draw_panel(two_faces()[:1]), one)
    overview = many[12:212, 12:412]
    np.testing.assert_array_equal(overview, draw_overview(PICTURE, [np.array(box, float) for box in BOXES]))
    for left, top, right, bottom in BOXES:
        assert (overview[top + 1 : bottom + 1, [left, right]] == 255).all()
        assert (overview[top + 4 : bottom - 4, left + 4 : right - 4] == 40).all()
        assert (overview[top - 16 : top, left : left + 12] != 40).any()  # the number


def test_a_large_picture_is_shrunk_with_its_boxes():
    large = np.full((6000, 8000, 3), 40, np.uint8)
    overview = draw_overview(large, [np.array([2000.0, 2000, 4000, 4000])])
    height, width = overview.shape[:2]
    assert max(width / (WIDTH - 24), height / 720) == 1
    rows, columns = np.nonzero((overview == 255).all(2))
    np.testing.assert_allclose([columns.min() / width, columns.max() / width], [0.25, 0.5], atol=0.005)
    assert rows.max() / height == pytest.approx(2 / 3, abs=0.005)


@pytest.mark.parametrize("mode", ["face", "corrected", "published"])
def test_without_faces_no_pixel_and_no_landmark_is_written(mode, tmp_path):
    """The files of two people with equal maps are the same; the action units stay."""
    stand_in = draw_stand_in(mode)
    early = np.zeros((224, 224), np.float32)
    attention = two_faces()[0].attention | {1: early}
    others = [explanation(box=face.box, shade=7, step="full", attention=attention) for face in two_faces()]
    for name, faces in (("a", two_faces()), ("b", others)):
        write_files(tmp_path / name, "group.jpg", faces, PICTURE, stand_in=stand_in)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with np.load(tmp_path / "a.npz") as stored:
        assert all("_cam_" in name or "_attention_" in name for name in stored.files)
        with np.load(tmp_path / "b.npz") as other:
            assert other.files == stored.files
        np.testing.assert_array_equal(stored["face1_attention_5"], two_faces()[0].attention[5])
    assert "action_units" in json.loads((tmp_path / "a.json").read_text())["faces"][0]
    with Image.open(tmp_path / "a.png") as panel:
        np.testing.assert_array_equal(np.asarray(panel)[30 : 30 + 224, 12 : 12 + 224], stand_in)
    assert set(arrays(two_faces())) > set(arrays(two_faces(), with_faces=False))
