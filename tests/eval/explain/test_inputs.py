"""Paths, folders and patterns become files with unique names; a path without files is one error."""

import os

import pytest

from eval.explain.inputs import list_inputs
from pipeline.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "a.png", "deep/a.jpg", "deep/b.MP4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_keeps_its_structure_and_names_are_unique(folder):
    inputs = list_inputs([str(folder)])
    assert [(source.path.name, source.name, source.is_video) for source in inputs] == [
        ("a.jpg", "a", False),
        ("a.png", "a.png", False),
        ("a.jpg", "deep/a", False),
        ("b.MP4", "deep/b", True),
    ]


def test_a_folder_gives_every_format_and_only_visible_regular_files(folder):
    for name in ("b.jfif", "c.avif", "d.heic", "._a.jpg", ".cache/e.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    os.mkfifo(folder / "f.mp4")
    (folder / "g.jpg").symlink_to("/dev/zero")
    (folder / "h.jpg").mkdir()
    names = [source.name for source in list_inputs([str(folder)])]
    assert names == ["a", "a.png", "b", "c", "d", "deep/a", "deep/b"]
    with pytest.raises(UserError, match="is not an image"):
        list_inputs([str(folder / "f.mp4")])


def test_files_of_several_folders_get_numbers(folder):
    inputs = list_inputs([str(folder / "a.jpg"), str(folder / "deep" / "a.jpg"), str(folder / "*.png")])
    assert [source.name for source in inputs] == ["a", "a.jpg", "a.png"]
    (folder / "c").mkdir()
    (folder / "c" / "a.jpg").touch()
    inputs = list_inputs([str(folder / "a.jpg"), str(folder / "deep" / "a.jpg"), str(folder / "c" / "a.jpg")])
    assert [source.name for source in inputs] == ["a", "a.jpg", "a-2"]


def test_a_path_without_files_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nowhere is not an image, a folder, a video or a pattern"):
        list_inputs([str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="holds no images or videos"):
        list_inputs([str(tmp_path)])
