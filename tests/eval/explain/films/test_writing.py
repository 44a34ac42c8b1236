"""The new film: its codec, its times, its size."""

import numpy as np
import pytest

from eval.explain.films import writing
from eval.explain.films.reading import Film, Frame
from tests.support.films import grey_frames

LIMIT = 10**6


def write(path, frames, times, fps):
    writer = writing.open_writer(path, frames[0], fps)
    for frame, seconds in zip(frames, times, strict=True):
        writer.add(Frame(frame, seconds))
    writer.close()
    film = Film(path, LIMIT)
    read = list(film.frames())
    film.close()
    return writer, read


def test_h264_keeps_the_times(tmp_path):
    av = pytest.importorskip("av")
    times = [0, 0.04, 0.5, 0.6, 5.0]
    writer, read = write(tmp_path / "film.mp4", grey_frames(5, (95, 63)), times, 25.0)
    np.testing.assert_allclose([frame.seconds for frame in read], times, atol=0.002)
    assert {frame.image.shape for frame in read} == {(64, 96, 3)}
    assert (writer.note, writer.altered_fps) == ("", None)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


@pytest.fixture
def no_h264(monkeypatch):
    monkeypatch.setattr(writing, "_load_av", lambda: None)
    monkeypatch.setattr(writing, "_opencv_has_h264", lambda: False)


@pytest.mark.usefixtures("no_h264")
def test_without_av_the_rate_is_constant_and_the_times_are_kept_by_repeating(tmp_path):
    frames = grey_frames(5, (95, 63))
    writer, read = write(tmp_path / "film.mp4", frames, [0, 0.1, 0.5, 0.52, 0.8], 10.0)
    assert writer.altered_fps == 10
    assert "uv sync --group video" in writer.note
    assert {frame.image.shape for frame in read} == {(64, 96, 3)}
    levels = [int(frame.image[:, 50:].mean()) for frame in read]
    shown = [0, 1, 1, 1, 1, 2, 3, 3, 4]  # number 3 comes within the time of number 2
    np.testing.assert_allclose(levels, [frames[number][:, 50:].mean() for number in shown], atol=5)


@pytest.mark.usefixtures("no_h264")
def test_a_constant_rate_stays_as_it_is(tmp_path):
    writer, read = write(tmp_path / "film.mp4", grey_frames(40), np.arange(40) / 29.97, 29.97)
    assert writer.altered_fps is None
    assert len(read) == 40


@pytest.mark.usefixtures("no_h264")
def test_a_film_that_states_no_usable_rate_gets_one(tmp_path):
    _, read = write(tmp_path / "film.mp4", grey_frames(3), [0, 1, 2], 1.5)
    assert len(read) == 2 * 25 + 1


def test_the_probe_of_opencv_answers():
    assert writing._opencv_has_h264() in (True, False)
