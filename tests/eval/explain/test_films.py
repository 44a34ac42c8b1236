"""Films explained: the table, the new film, cuts, and what is said of a damaged one."""

import cv2
import numpy as np
import pandas as pd
import pytest

from eval.explain import __main__ as command
from eval.explain.explainer import LABELS
from eval.explain.films import writing
from eval.explain.films.reading import Film
from pipeline.storage import images
from tests.support.films import write_constant, write_timed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def people(trained):
    """Drawn faces of eight people, 160 px."""
    paths = sorted((trained / "generated").rglob("*.jpg"))
    by_person = {path.name.split("_")[0]: path for path in paths}
    return [cv2.resize(images.read(path), (160, 160)) for path in list(by_person.values())[:8]]


@pytest.fixture
def explain(trained, tmp_path):
    """Explain the film; return the count of failures and the table."""

    def run(path, **options):
        failed = command.explain([str(path)], trained / "run" / "checkpoint.safetensors", tmp_path / "out", **options)
        return failed, pd.read_csv(tmp_path / "out" / f"{path.stem}.explained.csv")

    return run


def test_a_film_frame_by_frame(explain, people, tmp_path, capsys):
    """Two people side by side for ten frames; one leaves after six."""
    staying, leaving = people[:2]
    shown = [cv2.hconcat([staying, leaving if frame < 6 else np.full_like(leaving, 90)]) for frame in range(10)]
    failed, table = explain(write_constant(tmp_path / "film.mp4", shown), batch_size=4)
    assert failed == 0
    told = capsys.readouterr()
    assert "10 frames, 2 faces, 16 rows; " in told.out
    assert "without their sound" in told.err
    assert table["frame"].value_counts().sort_index().tolist() == [2] * 6 + [1] * 4
    assert set(table["face"]) == {1, 2}
    assert (table.groupby("face")["x0"].std().fillna(0) < 8).all()
    assert table["seconds"].max() == pytest.approx(0.9)
    np.testing.assert_allclose(table[LABELS].sum(axis=1), 1, atol=1e-3)
    assert (table[["score", "quality", "crop_size"]] > 0).all(axis=None)
    drawn = Film(tmp_path / "out" / "film.explained.mp4", 10**6)
    frames = [frame.image for frame in drawn.frames()]
    drawn.close()
    assert len(frames) == 10
    assert frames[0].shape == (160, 320, 3)
    assert np.abs(frames[0].astype(float) - shown[0]).mean() > 3
    assert np.abs(frames[9][:, 170:].astype(float) - 90).mean() < 8


def test_a_face_gets_a_new_number_at_a_cut(explain, people, tmp_path):
    """The box of the next person lies where that of the last one was."""
    film = write_constant(tmp_path / "film.mp4", [people[number // 5] for number in range(15)])
    _, table = explain(film)
    assert table["face"].tolist() == [1] * 5 + [2] * 5 + [3] * 5


def test_varying_times_are_kept(explain, people, tmp_path, capsys):
    av = pytest.importorskip("av")
    times = [0, 0.04, 0.5, 2.0]
    film = write_timed(av, tmp_path / "film.mp4", [people[0]] * 4, times)
    _, table = explain(film)
    np.testing.assert_allclose(table["seconds"], times, atol=0.002)
    drawn = Film(tmp_path / "out" / "film.explained.mp4", 10**6)
    np.testing.assert_allclose([frame.seconds for frame in drawn.frames()], times, atol=0.002)
    drawn.close()
    assert "variable" not in capsys.readouterr().out


def test_without_h264_the_tool_says_what_that_means(explain, people, tmp_path, monkeypatch, capsys):
    av = pytest.importorskip("av")
    monkeypatch.setattr(writing, "_load_av", lambda: None)
    monkeypatch.setattr(writing, "_opencv_has_h264", lambda: False)
    film = write_timed(av, tmp_path / "film.mp4", [people[0]] * 4, [0, 0.04, 0.5, 2.0])
    _, table = explain(film)
    told = capsys.readouterr()
    assert "; variable frame rate, written at 25 per second; " in told.out
    assert "browsers may not play" in told.err
    assert table["seconds"].max() == pytest.approx(2.0, abs=0.002)


def test_a_damaged_film_is_explained_as_far_as_it_goes(explain, people, tmp_path, capsys):
    av = pytest.importorskip("av")
    options = {"movflags": "faststart"}
    film = write_timed(
        av, tmp_path / "film.mp4", people[:1] * 12, np.arange(12) / 10, rate=10, codec="mjpeg", options=options
    )
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 6 // 10])
    failed, table = explain(film)
    n_read = table["frame"].max() + 1
    assert failed == 1
    assert 4 <= n_read < 12
    assert f"only {n_read} of 12 frames could be read" in capsys.readouterr().out
