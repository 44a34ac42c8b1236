"""Readings of maps whose place is known, in numbers computed by hand and in words."""

import numpy as np
import pytest

from au_guidance.expressions import AU_NAMES, Expression, codebook
from au_guidance.heatmap import CANVAS, draw, draw_units, shapes
from eval.explain.reading import au_table, ellipses, face_mask, read_map
from pipeline.plugins import names
from tests.support.faces import mean_face
from train.card.schema import Heatmap

HEATMAP = Heatmap(codebook="paper_code", geometry="symmetric")
POINTS = mean_face()
SHAPES = shapes(POINTS, "symmetric")


def read_expression(values, expression=Expression.HAPPINESS, heatmap=HEATMAP):
    return read_map(values.astype(np.float32), expression, shapes(POINTS, heatmap.geometry), POINTS, heatmap)


def inside(au):
    """The region of an AU, each pixel by the equation of its ellipses."""
    mask = np.zeros((CANVAS, CANVAS), bool)
    for x, y, across, down, angle in ellipses(SHAPES, au, "symmetric"):
        for row in range(CANVAS):
            for column in range(CANVAS):
                right, below = column - x, row - y
                u = right * np.cos(angle) + below * np.sin(angle)
                v = -right * np.sin(angle) + below * np.cos(angle)
                mask[row, column] |= (u / across) ** 2 + (v / down) ** 2 <= 1
    return mask


def test_a_uniform_map_gives_every_region_its_share_of_the_picture():
    reading = read_expression(np.ones((CANVAS, CANVAS)))
    mask = inside(12)
    (twelve,) = (region for region in reading.regions if region.au == 12)
    assert twelve.share == pytest.approx(mask.mean())
    assert twelve.uniform == pytest.approx(mask.mean())
    assert [region.lift for region in reading.regions] == pytest.approx([1, 1, 1])
    assert (twelve.left, twelve.right) == pytest.approx((1, 1))
    assert reading.words.startswith("average on ")
    assert reading.skill < 0
    assert any("worse than the mean AU map of all expressions" in warning for warning in reading.warnings)


def test_the_share_of_a_map_on_a_region_is_its_mass_there():
    values = np.random.default_rng(0).random((CANVAS, CANVAS)).astype(np.float32)
    (twelve,) = (row for row in au_table(values, SHAPES, HEATMAP) if row["au"] == 12)
    mask = inside(12)
    assert twelve["share"] == pytest.approx(values[mask].sum() / values.sum(), abs=1e-4)
    assert twelve["expressions"] == ["happiness"]


@pytest.mark.parametrize("expression", [expression for expression in Expression if expression])
@pytest.mark.parametrize("geometry", ["symmetric", "published"])
def test_the_au_map_of_an_expression_reads_as_that_expression(expression, geometry):
    heatmap = Heatmap(codebook="paper_code", geometry=geometry)
    reading = read_expression(draw(shapes(POINTS, geometry), expression, geometry=geometry), expression, heatmap)
    assert reading.retrieved == expression.label
    assert reading.cosine == pytest.approx(1, abs=1e-5)
    assert reading.skill == pytest.approx(1, abs=1e-4)
    assert reading.warnings == ()
    assert {region.au for region in reading.regions} == set(codebook("paper_code")[expression])
    assert all(region.lift > 1.3 for region in reading.regions)
    assert reading.words.startswith("high on ")
    assert "average" not in reading.words
    assert "low on" not in reading.words


def test_words_name_the_side_and_what_is_missing():
    left = draw_units(SHAPES, [12], geometry="symmetric")
    left[:, CANVAS // 2 :] = 0
    reading = read_expression(left)
    assert reading.words.startswith("high on lip corner puller AU12 left, ")
    assert "right" not in reading.words
    brows = read_expression(draw_units(SHAPES, [1, 2], geometry="symmetric"))
    assert brows.words.startswith("low on ")
    both = read_expression(draw_units(SHAPES, [6, 12], geometry="symmetric"))
    assert "lip corner puller AU12 left and right" in both.words
    assert "cheek raiser AU6 left and right" in both.words
    assert both.regions[0].lift >= both.regions[1].lift >= both.regions[2].lift


def test_lips_above_each_other_have_no_sides():
    (lips,) = (region for region in read_expression(np.ones((CANVAS, CANVAS))).regions if region.au == 25)
    assert lips.left is None
    assert lips.right is None


def test_warnings_name_the_other_expression_and_the_mass_outside():
    surprise = read_expression(draw(SHAPES, Expression.SURPRISE, geometry="symmetric"))
    assert surprise.retrieved == "surprise"
    assert surprise.warnings[0] == "the map resembles the action units of surprise more than those of happiness"
    corner = np.zeros((CANVAS, CANVAS))
    corner[:30, :30] = 1
    reading = read_expression(corner)
    assert reading.inside == 0
    assert reading.warnings[-1] == "100% of the map lies outside the face"


def test_a_map_of_zeros_and_a_neutral_face():
    nothing = read_expression(np.zeros((CANVAS, CANVAS)))
    assert nothing.retrieved is None
    assert nothing.cosine == 0
    assert all(region.lift == 0 for region in nothing.regions)
    neutral = read_expression(np.ones((CANVAS, CANVAS)), Expression.NEUTRAL)
    assert neutral.regions == ()
    assert neutral.words == "this expression has no action units"
    brows = read_expression(draw_units(SHAPES, [1, 2], geometry="symmetric"), Expression.NEUTRAL)
    assert brows.words.startswith("this expression has no action units; the map is highest on ")
    assert {"AU1", "AU2"} <= set(brows.words.replace(",", "").split())
    assert neutral.cosine is neutral.skill is neutral.retrieved is None


def test_the_face_is_between_chin_and_forehead():
    mask = face_mask(POINTS)
    assert mask[int(POINTS[30, 1]), int(POINTS[30, 0])]
    assert mask[int(POINTS[19, 1]) - 10, int(POINTS[19, 0])]
    assert not mask[2, 2]
    assert 0.3 < mask.mean() < 0.8
    assert abs(mask[:, : CANVAS // 2].sum() / mask[:, CANVAS // 2 :].sum() - 1) < 0.05


def test_every_au_of_every_codebook_has_a_name():
    for name in names("au_guidance.codebooks"):
        assert {au for aus in codebook(name).values() for au in aus} <= AU_NAMES.keys()
