"""Faces of a pair of runs: their images, maps and cosines, and panels of them."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from au_guidance.expressions import SIX, Expression
from eval.figures import __main__ as figures
from eval.figures import panels
from eval.figures.faces import RunPair, aligned, overlay, read_pair
from eval.records.predictions import read_predictions
from pipeline.errors import UserError
from tests.support.constructed import Constructed
from tests.support.figures import command, numbers
from train.card.schema import Card

pytestmark = pytest.mark.usefixtures("coarse")


def test_runs_must_be_a_pair(pair: RunPair, make_card: Callable[..., Card], tmp_path: Path) -> None:
    plain, au = pair.plain.path, pair.au.path
    with pytest.raises(UserError, match="without AU first"):
        read_pair(au, plain)
    other = Constructed(make_card(seed=1))
    path = other.write(tmp_path / "other.h5", cam=other.heatmaps, attention_5=other.heatmaps)
    with pytest.raises(UserError, match="differ in seed"):
        read_pair(plain, path)
    fewer = Constructed(make_card())
    fewer.ids, fewer.expressions, fewer.valid = fewer.ids[1:], fewer.expressions[1:], fewer.valid[1:]
    path = fewer.write(tmp_path / "fewer.h5", cam=fewer.heatmaps[1:], attention_5=fewer.heatmaps[1:])
    with pytest.raises(UserError, match="different faces"):
        read_pair(plain, path)
    deep = Constructed(make_card(guidance__layers=[4]))
    path = deep.write(tmp_path / "deep.h5", attention_4=deep.heatmaps)
    with pytest.raises(UserError, match="no attention of layer 4"):
        read_pair(plain, path)


def test_faces_have_their_own_image_and_cosines(pair: RunPair) -> None:
    rows = [int(np.flatnonzero(pair.au.valid)[0]), int(np.flatnonzero(pair.au.expressions == Expression.NEUTRAL)[0])]
    face, neutral = pair.faces(rows)
    assert face.image.shape == (224, 224, 3)
    assert face.cosines["cam_au"] == pytest.approx(1, abs=1e-3)
    heatmap = face.maps["heatmap"]
    assert face.cosines["cam_plain"] == pytest.approx(heatmap.sum() / (224 * np.sqrt((heatmap**2).sum())), abs=1e-3)
    assert face.maps["attention_au"].max() == 1
    assert "heatmap" not in neutral.maps
    assert neutral.cosines == {}
    assert aligned(pair.au, rows[::-1])[1].tobytes() == face.image.tobytes()


def test_overlay_by_hand() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    values = np.array([[0, 1], [2, 0.5]], np.float32)
    top = np.rint(0.4 * 100 + 0.6 * 255 * np.array(matplotlib.colormaps["viridis"](1.0)[:3]))
    found = overlay(image, values, "viridis")
    assert found[0, 1].tolist() == top.tolist()
    assert found[1, 0].tolist() == top.tolist()  # clipped to 1
    assert found[0, 0].tolist() != found[1, 1].tolist()


def test_panels_show_a_face_of_each_expression(pair: RunPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "panels"
    command(figures, monkeypatch, "panels", pair.plain.path, pair.au.path, "--out", out)
    found = numbers(out)
    assert found["expression"].tolist() == [one.label for one in SIX]
    assert found["cam_au_cosine"].min() > 0.99
    assert found.set_index("expression").loc["anger", "predicted_plain"] == "fear"
    drawn = {tuple(pair.au.ids[panels.sample(pair, seed)]) for seed in range(4)}
    assert tuple(found["id"]) in drawn
    assert len(drawn) > 1
    with pytest.raises(SystemExit, match="panels need two files"):
        command(figures, monkeypatch, "panels", pair.plain.path, "--out", out)


def test_a_changed_dataset_is_named(pair: RunPair) -> None:
    lost = read_predictions(pair.au.path)
    lost.ids[0] = "gone"
    with pytest.raises(UserError, match="no longer has gone"):
        aligned(lost, [0])
