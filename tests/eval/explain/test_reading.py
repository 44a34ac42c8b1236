"""Readings of maps whose place is known, in numbers computed by hand and in words."""

import numpy as np
import pytest

from au_guidance.expressions import AU_NAMES, AU_PARTS, Expression, codebook
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


def test_a_uniform_map_has_lifts_of_one_on_the_picture_and_on_the_face():
    face = face_mask(POINTS)
    mask = inside(12) & face
    for values in (np.ones((CANVAS, CANVAS)), face.astype(float)):
        reading = read_expression(values)
        assert [region.part for region in reading.regions] == ["cheeks", "mouth corners", "mouth"]
        (corners,) = (region for region in reading.regions if region.aus == (12,))
        assert corners.share == pytest.approx(mask.sum() / face.sum())
        assert corners.uniform == pytest.approx(mask.sum() / face.sum())
        assert [region.lift for region in reading.regions] == pytest.approx([1, 1, 1])
        assert (corners.left, corners.right) == pytest.approx((1, 1))
        assert reading.words.startswith("The map does not stand out on the regions of the expression's action units: ")
        assert "mouth corners (AU12) 1.0x" in reading.words
        assert reading.skill < 0
        assert any("worse than the mean AU map of all expressions" in warning for warning in reading.warnings)


def test_the_share_of_a_map_on_a_region_is_its_part_of_the_mass_on_the_face():
    values = np.random.default_rng(0).random((CANVAS, CANVAS)).astype(np.float32)
    (twelve,) = (row for row in au_table(values, SHAPES, POINTS, HEATMAP) if 12 in row["aus"])
    face = face_mask(POINTS)
    mask = inside(12) & face
    assert twelve["share"] == pytest.approx(values[mask].sum() / values[face].sum(), abs=1e-4)
    assert twelve["lift"] == pytest.approx(values[mask].mean() / values[face].mean(), abs=1e-4)
    assert twelve["aus"] == (12, 15)  # which are drawn in one place
    assert twelve["names"] == ("lip corner puller", "lip corner depressor")
    assert twelve["expressions"] == ["happiness", "sadness"]


def test_action_units_of_one_part_of_the_face_are_one_region_of_a_reading():
    values = draw(SHAPES, Expression.ANGER, geometry="symmetric")
    regions = {region.part: region for region in read_expression(values, Expression.ANGER).regions}
    assert {part: region.aus for part, region in regions.items()} == {
        "brows": (4,),
        "eyes": (5, 7),
        "mouth": (10, 23, 24, 25, 26),
        "chin": (17,),
    }
    face = face_mask(POINTS)
    eyes = (inside(5) | inside(7)) & face
    assert regions["eyes"].lift == pytest.approx(values[eyes].mean() / values[face].mean(), rel=1e-5)
    half = np.arange(CANVAS) < CANVAS // 2
    assert regions["eyes"].left == pytest.approx(values[eyes & half].mean() / values[face].mean(), rel=1e-5)
    rows = [row["aus"] for row in au_table(values, SHAPES, POINTS, HEATMAP)]
    assert (23, 24, 26, 27) in rows
    assert (25,) in rows


@pytest.mark.parametrize("expression", [expression for expression in Expression if expression])
@pytest.mark.parametrize("geometry", ["symmetric", "published"])
def test_the_au_map_of_an_expression_reads_as_that_expression(expression, geometry):
    heatmap = Heatmap(codebook="paper_code", geometry=geometry)
    reading = read_expression(draw(shapes(POINTS, geometry), expression, geometry=geometry), expression, heatmap)
    assert reading.retrieved == expression.label
    assert reading.cosine == pytest.approx(1, abs=1e-5)
    assert reading.skill == pytest.approx(1, abs=1e-4)
    assert reading.warnings == ()
    assert {au for region in reading.regions for au in region.aus} == set(codebook("paper_code")[expression])
    assert reading.words.startswith("The map lies on: ")
    for region in reading.regions:  # AU5 is drawn faintly beside others
        assert region.lift > (0.7 if region.aus == (5,) else 1.3)


def test_words_name_the_side_and_what_is_missing():
    left = draw_units(SHAPES, [12], geometry="symmetric")
    left[:, CANVAS // 2 :] = 0
    reading = read_expression(left)
    lift = next(region.left for region in reading.regions if region.aus == (12,))
    assert reading.words.startswith(f"The map lies on: mouth corners (AU12, left) {lift:.1f}x")
    assert "right" not in reading.words
    brows = read_expression(draw_units(SHAPES, [1, 2], geometry="symmetric"))
    assert brows.words.startswith("The map does not stand out on")
    both = read_expression(draw_units(SHAPES, [6, 12], geometry="symmetric"))
    assert "mouth corners (AU12) " in both.words
    assert "cheeks (AU6) " in both.words
    assert both.regions[0].lift >= both.regions[1].lift >= both.regions[2].lift
    brow = read_expression(draw_units(SHAPES, [4], geometry="symmetric"), Expression.ANGER)
    assert brow.words.startswith("The map lies on: brows (AU4) ")
    assert " Less on: " in brow.words
    assert "mouth (AU10/23/24/25/26) 0.0x" in brow.words


def test_lips_above_each_other_have_no_sides():
    (lips,) = (region for region in read_expression(np.ones((CANVAS, CANVAS))).regions if region.aus == (25,))
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
    assert reading.warnings[-1] == "100 % of the map lies outside the face"


def test_a_map_of_zeros_and_a_neutral_face():
    nothing = read_expression(np.zeros((CANVAS, CANVAS)))
    assert nothing.retrieved is None
    assert nothing.cosine == 0
    assert all(region.lift == 0 for region in nothing.regions)
    neutral = read_expression(np.ones((CANVAS, CANVAS)), Expression.NEUTRAL)
    assert neutral.regions == ()
    assert neutral.words == "Neutral has no action units."
    brows = read_expression(draw_units(SHAPES, [1, 2], geometry="symmetric"), Expression.NEUTRAL)
    assert brows.words.startswith("Neutral has no action units. The map is highest on: brows ")
    assert neutral.cosine is neutral.skill is neutral.retrieved is None


def test_the_face_is_between_chin_and_forehead():
    mask = face_mask(POINTS)
    assert mask[int(POINTS[30, 1]), int(POINTS[30, 0])]
    assert mask[int(POINTS[19, 1]) - 10, int(POINTS[19, 0])]
    assert not mask[2, 2]
    assert 0.3 < mask.mean() < 0.8
    assert abs(mask[:, : CANVAS // 2].sum() / mask[:, CANVAS // 2 :].sum() - 1) < 0.05


def test_every_au_of_every_codebook_has_a_name_and_a_part():
    for name in names("au_guidance.codebooks"):
        assert {au for aus in codebook(name).values() for au in aus} <= AU_NAMES.keys()
    assert AU_NAMES.keys() == AU_PARTS.keys()
