"""Frames and their times, aspect and rotation, and what a damaged film lacks."""

import re

import numpy as np
import pytest

from eval.explain.films.reading import Film, _cut_away
from pipeline.errors import UserError
from tests.support.films import grey_frames, turn, write_constant, write_timed

VARYING = [0, 0.04, 0.08, 0.5, 0.6, 1.0, 1.033, 5.0, 5.5, 19.33]
LIMIT = 10**6


def read(path):
    film = Film(path, LIMIT)
    frames = list(film.frames())
    missing = film.missing()
    film.close()
    return film, frames, missing


@pytest.fixture
def av():
    return pytest.importorskip("av")


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_times_are_those_of_the_container(av, tmp_path, ending):
    """Number / rate gave 1.2 s for the last frame of such a film."""
    path = write_timed(av, tmp_path / f"film.{ending}", grey_frames(10), VARYING)
    film, frames, missing = read(path)
    np.testing.assert_allclose([frame.seconds for frame in frames], VARYING, atol=0.002)
    assert (film.n_frames, film.seconds, missing) == (10, pytest.approx(19.33), "")


def test_a_film_of_constant_rate(tmp_path):
    film, frames, missing = read(write_constant(tmp_path / "film.mp4", grey_frames(12), fps=10))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(12) / 10, atol=1e-6)
    assert (film.fps, film.announced, missing) == (10, 12, "")
    assert np.abs(frames[7].image.astype(int) - grey_frames(12)[7]).mean() < 4


def test_the_time_goes_on_where_frames_are_lost(av, tmp_path):
    """The data of some frames are missing in the middle."""
    path = write_timed(av, tmp_path / "film.mp4", grey_frames(60), np.arange(60) / 10, rate=10, codec="mjpeg")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in packets[20:25]:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    _, frames, missing = read(path)
    assert missing == "55 of 60 frames"
    np.testing.assert_allclose(
        [frame.seconds for frame in frames], [*range(20), *range(25, 60)] * np.array(0.1), atol=0.002
    )


@pytest.mark.parametrize(
    ("ending", "kept", "pattern"),
    [("mp4", 0.6, r"3\d of 60 frames"), ("avi", 0.6, r"3\d of 60 frames"), ("mkv", 0.6, r"[34]\.\d of 6\.0 seconds")],
)
def test_a_film_that_is_cut_short_says_how_much_is_there(av, tmp_path, ending, kept, pattern):
    noise = list(np.random.default_rng(0).integers(0, 256, (60, 64, 96, 3), np.uint8))
    path = tmp_path / f"film.{ending}"
    write_timed(av, path, noise, np.arange(60) / 10, codec="mpeg4", rate=10, options={"movflags": "faststart"})
    assert read(path)[2] == ""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert re.fullmatch(pattern, read(path)[2])


def test_frames_that_an_edit_list_hides_are_not_missing(av, tmp_path):
    """A phone trims a film so: the first frames are decoded and not shown."""
    path = write_timed(av, tmp_path / "film.mp4", grey_frames(60), np.arange(60) / 25 - 0.4)
    _, frames, missing = read(path)
    assert len(frames) < 60
    assert missing == ""


def test_a_film_that_av_cannot_open_hides_nothing(av, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film")
    assert _cut_away(tmp_path / "film.mp4") == 0


def test_pixels_that_are_not_square_are_stretched(av, tmp_path):
    path = write_timed(av, tmp_path / "film.mp4", grey_frames(3), [0, 0.04, 0.08], aspect=(4, 3))
    assert {frame.image.shape for frame in read(path)[1]} == {(64, 128, 3)}


def test_rotation_is_applied_also_to_pixels_that_are_not_square(av, tmp_path):
    frames = [np.zeros((64, 96, 3), np.uint8)] * 3
    frames[0][:, :30] = 255  # at the left, so that it is at the top after a turn clockwise
    plain = write_constant(tmp_path / "plain.mp4", frames)
    wide = write_timed(av, tmp_path / "wide.mp4", frames, [0, 0.04, 0.08], aspect=(2, 1))
    for path, shape in ((plain, (96, 64, 3)), (wide, (192, 64, 3))):
        turn(path)
        image = read(path)[1][0].image
        assert image.shape == shape
        assert image[: shape[0] // 4].mean() > 200
        assert image[shape[0] // 2 :].mean() < 50


def test_a_film_that_cannot_be_decoded_names_its_codec(tmp_path):
    path = write_constant(tmp_path / "film.mp4", grey_frames(3))
    path.write_bytes(path.read_bytes().replace(b"mp4v", b"xq9z").replace(b"esds", b"free"))
    with pytest.raises(UserError, match=r"film\.mp4 cannot be read as a film: .*codec, xq9z; convert it"):
        Film(path, LIMIT)
    path.write_bytes(b"no film")
    with pytest.raises(UserError, match=r"film\.mp4 cannot be read as a film; convert it"):
        Film(path, LIMIT)


def test_large_frames_are_refused(tmp_path):
    path = write_constant(tmp_path / "film.mp4", grey_frames(3))
    with pytest.raises(UserError, match=r"frames larger than 0\.006 megapixels: 96 x 64"):
        Film(path, 6000)


@pytest.mark.parametrize("name", ["a:b.mp4", "http:/x/film.mp4", "film%03d.mp4", "film.dat"])
def test_names_are_paths_and_nothing_else(tmp_path, monkeypatch, name):
    """OpenCV takes some for an address or for a sequence of pictures, and opens a network connection."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_constant(tmp_path / "made.mp4", grey_frames(3)).rename(path)
    monkeypatch.chdir(tmp_path)
    film, frames, missing = read(path.relative_to(tmp_path))
    assert (len(frames), missing) == (3, "")
    assert film.announced == 3
