"""Paths, folders and patterns become files with unique names; a path without files is one error."""

import os
import time

import pytest
from PIL import Image

from eval.explain.inputs import list_inputs
from pipeline.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "a.png", "deep/a.jpg", "deep/b.MP4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names_of(paths):
    return [source.name.removesuffix(".explained") for source in list_inputs(map(str, paths))]


def test_a_folder_keeps_its_structure_and_names_are_unique(folder):
    inputs = list_inputs([str(folder)])
    assert [(source.path.name, source.name, source.is_film) for source in inputs] == [
        ("a.jpg", "a.explained", False),
        ("a.png", "a.png.explained", False),
        ("a.jpg", "deep/a.explained", False),
        ("b.MP4", "deep/b.explained", True),
    ]


def test_a_folder_gives_every_format_and_only_visible_regular_files(folder, capsys):
    for name in ("b.jfif", "c.avif", "d.heic", "._a.jpg", ".cache/e.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    os.mkfifo(folder / "f.mp4")
    (folder / "g.jpg").symlink_to("/dev/zero")
    (folder / "h.jpg").mkdir()
    assert names_of([folder]) == ["a", "a.png", "b", "c", "d", "deep/a", "deep/b"]
    assert capsys.readouterr().err == (
        f"{folder}: skipped files: 2 hidden, 2 not regular files, 1 with other endings (.txt)\n"
    )
    with pytest.raises(UserError, match="is not an image"):
        list_inputs([str(folder / "f.mp4")])


def test_files_of_several_folders_get_numbers(folder):
    deep = folder / "deep" / "a.jpg"
    assert names_of([folder / "a.jpg", deep, folder / "*.png"]) == ["a", "a.jpg", "a.png"]
    (folder / "c").mkdir()
    (folder / "c" / "a.jpg").touch()
    assert names_of([folder / "a.jpg", deep, folder / "c" / "a.jpg"]) == ["a", "a.jpg", "a-2"]


def test_names_do_not_meet_on_any_file_system(folder):
    """Some ignore case, and some store an accent as a letter of its own."""
    for name in ("A.mp4", "a-2.png", "\u00e9.jpg", "e\u0301.png", "c/A.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    names = names_of([folder, folder / "deep" / "a.jpg", folder / "c"])
    assert names == ["A", "a-2", "a.jpg", "a.png", "c/A", "deep/a", "deep/b", "e\u0301", "\u00e9.jpg"]
    names = names_of([folder / "a-2.png", folder / "a.jpg", folder / "deep" / "a.jpg", folder / "c" / "A.jpg"])
    assert names == ["a-2", "a", "a.jpg", "A-3"]


def test_long_names_are_cut_and_stay_apart(tmp_path):
    for name in ("x" * 250 + ".jpg", "x" * 240 + ".png", "\u00e9" * 120 + ".jpg"):
        (tmp_path / name).touch()
    names = names_of([tmp_path])
    assert names == ["x" * 200, "x" * 200 + "-2", "\u00e9" * 100]
    assert all(len(f".1234567.{name}.explained.json".encode()) < 255 for name in names)


def test_results_are_no_inputs_of_a_folder(folder, capsys):
    for name in ("a.explained.png", "deep/b.explained.mp4", "a.png.explained.json"):
        (folder / name).touch()
    assert names_of([folder]) == ["a", "a.png", "deep/a", "deep/b"]
    assert "3 results of this command" in capsys.readouterr().err
    assert names_of([folder / "a.explained.png"]) == ["a.explained"]


def test_thousands_of_files_take_a_moment(tmp_path):
    """12,000 took 15 s of a core when every name was compared with all others."""
    for number in range(3000):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "face.jpg").touch()
    paths = [str(tmp_path / str(number) / "face.jpg") for number in range(3000)]
    before = time.process_time()
    assert len({source.name for source in list_inputs(paths)}) == len(list_inputs([str(tmp_path)])) == 3000
    assert time.process_time() - before < 1.5


@pytest.mark.parametrize(
    ("name", "content", "is_film"),
    [
        ("x.dat", b"\0\0\0\x20ftypisom", True),
        ("x.jpg", b"\x1aE\xdf\xa3webm", True),
        ("x.bin", b"RIFF\0\0\0\0AVI LIST", True),
        ("x.wmv", b"\x30\x26\xb2\x75", True),
        ("x.heic", b"\0\0\0\x18ftypheic\0\0\0\0", False),
        ("x.dat", b"\0\0\0\x18ftypheic\0\0\0\0", False),
        ("x.webp", b"RIFF\0\0\0\0WEBPVP8 ", False),
        ("x.jpg", b"", False),
    ],
)
def test_content_tells_films_from_pictures(tmp_path, name, content, is_film):
    (tmp_path / name).write_bytes(content)
    (source,) = list_inputs([str(tmp_path / name)])
    assert source.is_film == is_film


def test_a_picture_with_any_ending_is_a_picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.mp4", "PNG")
    (source,) = list_inputs([str(tmp_path / "x.mp4")])
    assert not source.is_film


def test_a_path_without_files_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nowhere is not an image, a folder, a film or a pattern"):
        list_inputs([str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="holds no images or films"):
        list_inputs([str(tmp_path)])
