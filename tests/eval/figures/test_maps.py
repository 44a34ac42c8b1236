import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes

from au_guidance.expressions import SIX, Expression
from eval.figures import maps
from eval.records.predictions import read_predictions
from pipeline.errors import UserError
from pipeline.geometry import template
from tests.support.constructed import Constructed
from train.card.schema import Card

pytestmark = pytest.mark.slow

MakeCard = Callable[..., Card]


@pytest.fixture
def made(make_card: MakeCard) -> Constructed:
    return Constructed(make_card())


def level(made: Constructed) -> np.ndarray:
    """A number per face, exact in half precision, so that means can be worked out."""
    return (np.arange(len(made.ids)) + 1) / 32


def test_means_by_hand(made: Constructed, tmp_path: Path) -> None:
    values = level(made)
    cam = np.tile(values[:, None, None], (1, 7, 7))
    attention = np.tile(values[:, None, None] / 2, (1, 4, 4))
    averages = maps.average_maps(read_predictions(made.write(tmp_path / "p.h5", cam=cam, attention_5=attention)))
    for expression in SIX:
        rows = made.expressions == expression
        name = expression.label
        assert averages[f"cam_{name}"] == pytest.approx(np.full((224, 224), values[rows].mean()), abs=1e-6)
        assert averages[f"attention_5_{name}"] == pytest.approx(np.full((224, 224), values[rows].mean() / 2), abs=1e-6)
        expected = made.heatmaps[made.of_class(expression)].mean(0)
        assert averages[f"au_map_{name}"] == pytest.approx(expected, abs=1e-6)
        assert averages[f"cam_{name}"].dtype == np.float32
    assert not any("neutral" in name for name in averages)


def test_faces_without_heatmap_count_for_cam_but_not_for_the_au_map(made: Constructed, tmp_path: Path) -> None:
    without = np.flatnonzero(~made.valid & (made.expressions != Expression.NEUTRAL))[0]
    expression = Expression(made.expressions[without])
    cam = np.zeros((len(made.ids), 2, 2))
    cam[without] = 1
    averages = maps.average_maps(read_predictions(made.write(tmp_path / "p.h5", cam=cam, attention_5=cam)))
    assert averages[f"cam_{expression.label}"].mean() == pytest.approx(1 / 3)
    assert averages[f"au_map_{expression.label}"].max() > 0.9


def test_attention_of_every_layer_starts_at_zero_and_the_deepest_guided_one_is_shown(
    make_card: MakeCard, tmp_path: Path
) -> None:
    made = Constructed(make_card(guidance__layers=[3, 4]))
    low = np.tile(np.array([[-1.0, 1.0]]), (len(made.ids), 2, 1))
    other = np.full((len(made.ids), 2, 2), 0.25)
    path = made.write(tmp_path / "p.h5", attention_3=other, attention_4=low, attention_5=other)
    averages = maps.average_maps(read_predictions(path))
    assert averages["attention_4_fear"].min() == 0
    assert averages["attention_4_fear"].max() == 2
    assert averages["attention_5_fear"] == pytest.approx(np.full((224, 224), 0.25))
    assert maps.describe(read_predictions(path))["layer"] == 4
    assert not any(name.startswith("cam") for name in averages)


def test_expression_without_faces_is_nan(made: Constructed, tmp_path: Path) -> None:
    made.expressions[made.expressions == Expression.DISGUST] = Expression.NEUTRAL
    made.valid &= made.expressions != Expression.NEUTRAL
    path = made.write(tmp_path / "p.h5", cam=np.ones((21, 2, 2)), attention_5=np.ones((21, 2, 2)))
    maps.write_averages(path, tmp_path / "average_maps")
    stored, about = maps.read_averages(tmp_path / "average_maps.npz")
    assert np.isnan(stored["cam_disgust"]).all()
    assert np.isfinite(stored["cam_fear"]).all()
    assert about["faces"]["disgust"] == 0


def coloured(picture: np.ndarray) -> np.ndarray:
    """Mark the pixels of a picture that are neither grey, black nor white."""
    return np.ptp(picture.astype(int), axis=2) > 30


def test_picture_has_six_columns_and_a_row_per_kind(made: Constructed, tmp_path: Path) -> None:
    path = made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_5=made.heatmaps)
    maps.write_averages(path, tmp_path / "average_maps")
    mask = coloured(cv2.imread(str(tmp_path / "average_maps.png")))
    panels = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2]
    wide = panels[1:][(panels[1:, cv2.CC_STAT_WIDTH] > 100) & (panels[1:, cv2.CC_STAT_HEIGHT] > 100)]
    assert len(wide) == 18
    assert len(np.unique(np.round(wide[:, cv2.CC_STAT_LEFT] / 20))) == 6
    assert len(np.unique(np.round(wide[:, cv2.CC_STAT_TOP] / 20))) == 3


def test_rows_of_one_kind_share_their_colours(made: Constructed, make_card: MakeCard, tmp_path: Path) -> None:
    # The guided run's maps are uniform at the plain run's maximum, so they must all have the brightest colour.
    plain = Constructed(make_card(variant="plain", guidance__weight=0.0))
    ramp = np.tile(np.linspace(0, 1, 8), (21, 8, 1))
    maps.write_averages(plain.write(tmp_path / "p.h5", cam=ramp, attention_5=ramp), tmp_path / "plain")
    full = np.ones((21, 8, 8))
    maps.write_averages(made.write(tmp_path / "a.h5", cam=full, attention_5=full), tmp_path / "au")
    maps.compare(tmp_path / "plain.npz", tmp_path / "au.npz", tmp_path / "both")
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "both.png")), cv2.COLOR_BGR2RGB)
    brightest = (picture == [253, 231, 36]).all(2)
    panels = cv2.connectedComponentsWithStats(brightest.astype(np.uint8))[2][1:]
    assert ((panels[:, cv2.CC_STAT_WIDTH] > 100) & (panels[:, cv2.CC_STAT_HEIGHT] > 100)).sum() == 12


def test_stored_maps_say_what_they_are_of(made: Constructed, tmp_path: Path) -> None:
    path = made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_5=made.heatmaps)
    maps.write_averages(path, tmp_path / "m")
    first = (tmp_path / "m.npz").read_bytes()
    maps.write_averages(path, tmp_path / "m")
    assert (tmp_path / "m.npz").read_bytes() == first
    with np.load(tmp_path / "m.npz") as stored:
        about = json.loads(str(stored["about"]))
        assert stored["au_map_anger"].shape == (224, 224)
    assert (about["dataset"], about["guidance"], about["layer"]) == ("small", "λ 5, layer 5", 5)
    assert about["faces"] == dict.fromkeys((expression.label for expression in SIX), 3)


@pytest.mark.parametrize(("stored", "mode"), [("face", "face"), ("published", "published"), (None, "corrected")])
def test_rings_lie_where_the_faces_of_the_run_were_aligned(
    make_card: MakeCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str | None, mode: str
) -> None:
    """Files of earlier versions do not say how faces were cut: that was "corrected"."""
    made = Constructed(make_card(), stored)
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(Axes, "scatter", lambda axes, x, y, **_: drawn.append(np.column_stack([x, y])))
    path = made.write(tmp_path / "p.h5", cam=made.heatmaps, attention_5=made.heatmaps)
    maps.write_averages(path, tmp_path / "m")
    assert len(drawn) == 18
    assert drawn == pytest.approx(np.tile(template(224, mode), (18, 1, 1)))
    assert maps.read_averages(tmp_path / "m.npz")[1]["mode"] == mode


def test_comparison_refuses_maps_of_different_things(made: Constructed, make_card: MakeCard, tmp_path: Path) -> None:
    other = Constructed(make_card(seed=1))
    for name, run in (("a", made), ("b", other)):
        path = run.write(tmp_path / f"{name}.h5", cam=run.heatmaps, attention_5=run.heatmaps)
        maps.write_averages(path, tmp_path / name)
    with pytest.raises(UserError, match="differ in seed"):
        maps.compare(tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "c")
    with pytest.raises(UserError, match="does not exist"):
        maps.compare(tmp_path / "none.npz", tmp_path / "b.npz", tmp_path / "c")
    with pytest.raises(UserError, match="holds no average maps"):
        maps.compare(tmp_path / "a.h5", tmp_path / "b.npz", tmp_path / "c")
    with pytest.raises(UserError, match=r"a\.npz is of a run with guidance \(λ 5, layer 5\); give the plain run first"):
        maps.compare(tmp_path / "a.npz", tmp_path / "a.npz", tmp_path / "c")
    assert not (tmp_path / "c.png").exists()
