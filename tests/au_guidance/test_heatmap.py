"""The AU heatmaps: the published code's values, and the properties that the corrected geometry promises."""

import cv2
import numpy as np
import pytest

from au_guidance.expressions import SIX, Expression, codebook
from au_guidance.heatmap import draw, draw_units, geometry_table, render, shapes
from au_guidance.raster import GRID, raster_published
from au_guidance.tables import TableError
from pipeline.geometry import MIRROR_68, rescale
from tests.support.paths import GOLDEN, SHARED

GOLDEN_FILE = GOLDEN / "au_maps.npz"
ORACLE = SHARED / "oracle" / "au_maps.npz"  # 4 MB: every pixel of what golden holds on a coarse grid


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN_FILE)


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def published_grid(points, au, size=256):
    """One AU's blurred grid, drawn on its own through the public parts."""
    everything = slice(0, GRID), slice(0, GRID)
    return raster_published(shapes(points, size=size)[geometry_table("published").rows(au)], everything, size)


@pytest.mark.parametrize("kind", ["", "odd_"])  # three faces; three more and six turned by 30 degrees
def test_published_maps_equal_the_released_code(golden, kind):
    for points, maps in zip(golden[f"{kind}landmarks"], golden[f"{kind}maps28"], strict=True):
        for name, expected in zip(golden["class_order"], maps, strict=True):
            drawn = render(points, Expression.parse(str(name)), 256)
            seen = cv2.resize(drawn, (28, 28), interpolation=cv2.INTER_NEAREST)
            np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_published_grids_equal_the_released_code(golden):
    for face, points in enumerate(golden["landmarks"]):
        for index, au in enumerate(golden["au_facs"]):
            np.testing.assert_allclose(published_grid(points, int(au)), golden["au_grid"][face, index], atol=255e-4)


@pytest.mark.skipif(not ORACLE.exists(), reason="the large oracle is not beside the repository")
def test_every_pixel_of_the_oracle():
    oracle = np.load(ORACLE)
    faces = [*zip(oracle["landmarks"][oracle["map_face"]], oracle["maps"], strict=True)]
    faces += zip(oracle["stress_landmarks"], oracle["stress_maps"], strict=True)
    for points, maps in faces:
        for name, expected in zip(oracle["class_order"], maps, strict=True):
            drawn = render(points, Expression.parse(str(name)), 256)
            if np.isinf(expected).all():  # nothing to draw
                assert drawn is None
            else:
                np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_one_disc_by_hand():
    """EMFACS Happiness at 28 px: the disc is drawn on the grid itself and blurred by the 3x3 mean."""
    points = np.zeros((68, 2))
    points[[41, 46]] = (-300, -300)  # AU6 out of sight
    points[48], points[54] = (-300, -300), (-10, 14)
    heatmap = render(points, Expression.HAPPINESS, 28, codebook="emfacs")
    canvas = cv2.ellipse(np.full((28, 28), 1e-4), (-10, 14), (20, 20), 0, 0, 360, 255, -1)
    blurred = cv2.blur(canvas, (3, 3))
    np.testing.assert_allclose(heatmap, (blurred - blurred.min()) / np.ptp(blurred), atol=1e-6)


@pytest.mark.parametrize("points", [np.full((68, 2), np.nan), np.full((68, 2), np.inf), np.full((68, 2), -5000.0)])
@pytest.mark.parametrize("geometry", ["published", "symmetric"])
def test_nothing_to_draw(points, geometry):
    assert render(points, Expression.FEAR, 224, geometry=geometry) is None


def test_any_set_of_aus_can_be_drawn(golden):
    stored = shapes(rescale(golden["landmarks"][0], 256, 224))
    for expression in SIX:
        aus = codebook("emfacs")[expression]
        drawn = draw_units(stored, aus)
        np.testing.assert_array_equal(drawn, draw(stored, expression, codebook="emfacs"))
        np.testing.assert_array_equal(drawn, draw_units(stored, [*reversed(aus), aus[0]]))
    both, left = draw_units(stored, (12, 1)), draw_units(stored, (12,))
    assert (both[left > 0.9] > 0.5).all()
    assert (both[left == 0] > 0.5).any()
    assert draw_units(stored, ()) is None
    with pytest.raises(TableError, match="draws no AU99"):
        draw_units(stored, (12, 99))


def test_neutral_has_no_map(golden):
    assert render(golden["landmarks"][0], Expression.NEUTRAL, 224) is None


@pytest.mark.parametrize("geometry", ["published", "symmetric"])
def test_range_type_and_stored_form(golden, geometry):
    points = rescale(golden["landmarks"][0], 256, 224)
    for expression in SIX:
        heatmap = render(points, expression, 224, geometry=geometry)
        assert heatmap.dtype == np.float32
        assert (heatmap.min(), heatmap.max()) == (0, 1)
        stored = shapes(points, geometry).astype(np.float32)
        assert stored.nbytes <= 2000
        np.testing.assert_allclose(draw(stored, expression, geometry=geometry), heatmap, atol=1 / 255)


def test_symmetric_commutes_with_mirroring(golden):
    for points in golden["landmarks"]:
        mirrored = points[MIRROR_68] * (-1, 1) + (255, 0)
        for expression in SIX:
            drawn_mirrored = render(mirrored, expression, 256, geometry="symmetric")
            np.testing.assert_allclose(
                drawn_mirrored[:, ::-1], render(points, expression, 256, geometry="symmetric"), atol=1e-6
            )


def test_symmetric_commutes_with_scaling(golden):
    for points in golden["landmarks"]:
        for expression in SIX:
            base = render(rescale(points, 256, 224), expression, 224, geometry="symmetric")
            for size in (112, 448, 1024):
                scaled = render(rescale(points, 256, size), expression, size, geometry="symmetric")
                interpolation = cv2.INTER_AREA if size > 224 else cv2.INTER_LINEAR
                assert cosine(cv2.resize(scaled, (224, 224), interpolation=interpolation), base) >= 0.995


def test_symmetric_turns_with_the_face(golden):
    turn = cv2.getRotationMatrix2D((127.5, 127.5), 25, 1)
    points = golden["landmarks"][0]
    turned = points @ turn[:, :2].T + turn[:, 2]
    for expression in SIX:
        upright = render(points, expression, 256, geometry="symmetric")
        expected = cv2.warpAffine(upright, turn, (256, 256))
        assert cosine(render(turned, expression, 256, geometry="symmetric"), expected) >= 0.98


def test_the_mended_slips_stay_near_the_published_maps(golden):
    """Happiness, Sadness, Surprise have no large slip: the two geometries agree where the code was right."""
    points = rescale(golden["landmarks"][0], 256, 224)
    for expression in (Expression.HAPPINESS, Expression.SADNESS, Expression.SURPRISE):
        assert cosine(render(points, expression, 224), render(points, expression, 224, geometry="symmetric")) > 0.95


def test_codebooks():
    assert codebook("paper_code")[Expression.HAPPINESS] == (6, 12, 25)
    differing = [e for e in SIX if set(codebook("paper_code")[e]) != set(codebook("paper_text")[e])]
    assert differing == [Expression.DISGUST]
    assert set(codebook("paper_code")[Expression.DISGUST]) ^ set(codebook("paper_text")[Expression.DISGUST]) == {5, 10}
    for name in ("paper_code", "paper_text", "emfacs"):
        assert codebook(name)[Expression.NEUTRAL] == ()
        for geometry in ("published", "symmetric"):
            for aus in codebook(name).values():
                assert all(geometry_table(geometry).rows(au) for au in aus)


def test_an_unknown_codebook_is_named():
    with pytest.raises(TableError, match=r"no codebook 'paper_cod' \(did you mean 'paper_code'\?\).*emfacs"):
        codebook("paper_cod")


@pytest.mark.parametrize("geometry", ["published", "symmetric"])
def test_sizes_below_one_are_refused_and_maps_without_contrast_are_none(golden, geometry):
    points = golden["landmarks"][0]
    for size in (0, -3):
        with pytest.raises(ValueError, match=rf"the size is {size}; it must be at least 1"):
            render(points, Expression.FEAR, size, geometry=geometry)
    for size in range(1, 8):
        for expression in SIX:
            heatmap = render(rescale(points, 256, size), expression, size, geometry=geometry)
            assert heatmap is None or (heatmap.min(), heatmap.max(), heatmap.shape) == (0, 1, (size, size))
    assert render(rescale(points, 256, 1), Expression.FEAR, 1, geometry=geometry) is None


@pytest.mark.parametrize("geometry", ["published", "symmetric"])
def test_a_map_that_is_covered_altogether_is_none(geometry):
    everywhere = np.tile([112.0, 112.0, 1000.0, 1000.0, 0.0], (len(geometry_table(geometry).ellipses), 1))
    assert draw(everywhere, Expression.HAPPINESS, geometry=geometry) is None
    assert draw(everywhere + np.array([0.3, 0.7, 11.1, 3.3, 0.5]), Expression.FEAR, geometry=geometry) is None


@pytest.mark.parametrize("geometry", ["published", "symmetric"])
def test_drawing_only_where_shapes_are_equals_drawing_everything(golden, geometry, monkeypatch):
    rng = np.random.default_rng(0)
    faces = [*golden["landmarks"][:3] * 224 / 256, rng.uniform(-100, 300, (68, 2)), rng.uniform(-3e4, 4e4, (68, 2))]
    parts = [render(points, expression, 224, geometry=geometry) for points in faces for expression in SIX]
    monkeypatch.setattr("au_guidance.heatmap.touched", lambda ellipses, size: (slice(0, GRID), slice(0, GRID)))
    wholes = [render(points, expression, 224, geometry=geometry) for points in faces for expression in SIX]
    for part, whole in zip(parts, wholes, strict=True):
        assert (part is None) == (whole is None)
        if part is not None:
            np.testing.assert_allclose(part, whole, atol=1e-6)


@pytest.mark.parametrize("expression", ["fear", 7, -1, None, 1.5])
def test_what_is_no_expression_is_refused(golden, expression):
    with pytest.raises(ValueError, match=rf"unknown expression {expression!r}; known: neutral, happiness, .*sadness"):
        render(golden["landmarks"][0], expression, 224)


def test_class_ids_stand_for_expressions(golden):
    for expression in SIX:
        points = golden["landmarks"][0]
        np.testing.assert_array_equal(render(points, int(expression), 256), render(points, expression, 256))


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="68 landmarks"):
        render(np.zeros((5, 2)), Expression.FEAR, 224)
