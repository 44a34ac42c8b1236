"""Transforms are compared with hand-worked numbers and second implementations, drawings with where dots must land."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.geometry import (
    MIRROR_68,
    MODES,
    TEMPLATE_112,
    VIEW_112,
    compose,
    distinct,
    five_points,
    invert,
    overlap,
    overlaps,
    rescale,
    scale_of,
    similarity,
    template,
    transform,
    transform_box,
    view_matrix,
    view_side,
    warp,
)
from tests.support.faces import mean_face


def turned(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def dots(size: tuple[int, int], points: np.ndarray, sigma: float) -> np.ndarray:
    """Soft white dots on black, (height, width, 3); their centroids are known to a fraction of a pixel."""
    row, column = np.mgrid[: size[1], : size[0]]
    drawn = sum(np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)) for x, y in points)
    return np.repeat(np.rint(255 * np.clip(drawn, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def centroid(image: np.ndarray, near: np.ndarray, radius: int) -> np.ndarray:
    x, y = np.rint(near).astype(int)
    part = image[y - radius : y + radius + 1, x - radius : x + radius + 1, 0].astype(float)
    row, column = np.mgrid[: part.shape[0], : part.shape[1]]
    return np.array([(part * column).sum(), (part * row).sum()]) / part.sum() + (x - radius, y - radius)


def test_similarity_recovers_a_known_transform() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        known = turned(rng.uniform(-3, 3), rng.uniform(0.2, 5), tuple(rng.uniform(-50, 50, 2)))
        points = rng.uniform(0, 300, (5, 2))
        assert np.allclose(similarity(points, transform(known, points)), known, atol=1e-9)


def test_similarity_by_hand() -> None:
    # A unit step to the right becomes two steps down: a quarter turn, scale 2, then the shift (3, 4).
    matrix = similarity([(0, 0), (1, 0)], [(3, 4), (3, 6)])
    assert np.allclose(matrix, [[0, -2, 3], [2, 0, 4]])
    # Three corners of a square, one pushed out; about the centroids a = (60 + 6i) / 48, the shift is what is left.
    square = np.array([(0, 0), (2, 0), (0, 2)])
    assert np.allclose(similarity(square, [(0, 0), (3, 0), (0, 2)]), [[1.25, -0.125, 0.25], [0.125, 1.25, -0.25]])


def test_similarity_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    x, y = source.T
    zero, one = np.zeros(5), np.ones(5)
    system = np.vstack([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, across, down = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    assert np.allclose(similarity(source, target), [[a, -b, across], [b, a, down]])


def test_similarity_never_mirrors() -> None:
    mirrored = TEMPLATE_112 * (-1, 1)
    assert np.linalg.det(similarity(mirrored, TEMPLATE_112)[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan), np.array([[0, 0], [np.inf, 1]])])
def test_similarity_needs_distinct_points(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="distinct"):
        similarity(points, TEMPLATE_112[: len(points)])


def test_template_numbers() -> None:
    assert np.allclose(template(112, "corrected"), TEMPLATE_112)
    assert np.allclose(template(112, "face"), 0.8 * TEMPLATE_112 + (11.1, 4.4))
    assert np.allclose(template(224, "corrected")[0], (77.089199, 103.892601), atol=1e-6)
    assert np.allclose(template(224, "published").round(3)[2], (112.050, 143.473))
    for mode in ("face", "corrected"):
        assert np.allclose(rescale(template(224, mode), 224, 256), template(256, mode))


def test_views_of_all_modes_show_the_same_part_of_the_face() -> None:
    """The view is 1.5 times as wide as the published window, whatever the crop shows."""
    for mode in MODES:
        for size in (64, 112, 256):
            side = view_side(size, mode)
            placed = transform(view_matrix(size, mode), template(size, mode))
            shift = 0.5 * 224 / 112 if mode == "published" else 0  # its template lies half a pixel up and left
            expected = rescale(TEMPLATE_112 - VIEW_112[0] - 0.5, 168, side)
            assert np.abs(placed - expected).max() < shift + 1e-6
    assert [view_side(112, mode) for mode in MODES] == [134, 168, 168]
    assert view_side(512, "corrected") == 320


def test_compose_applies_the_first_matrix_first() -> None:
    first, second = turned(0.3, 1.4, (5, -7)), turned(-1.1, 0.6, (0, 3))
    points = mean_face()
    assert np.allclose(transform(compose(second, first), points), transform(second, transform(first, points)))


def test_distinct_keeps_the_first_of_overlapping_boxes() -> None:
    boxes = [np.array(corners, float) for corners in ((0, 0, 10, 10), (0, 4, 10, 14), (0, 6, 10, 16), (7, 1, 10, 4))]
    # the second shares 6 of 10 rows with the first, the third 4; the last lies in the first and overlaps it by 0.09 IoU
    assert distinct([0, 1, 2, 3], lambda row: boxes[row]) == [0, 2]
    assert distinct([3, 0], lambda row: boxes[row]) == [3]


def test_overlaps_count_both_edges() -> None:
    boxes = np.array([[0.0, 0, 9, 9], [0.0, 4, 9, 13], [0.0, 6, 9, 15], [20.0, 0, 29, 9]])
    assert np.allclose(overlaps(boxes[0], boxes), (1, 60 / 140, 40 / 160, 0))


def test_rescale_keeps_the_edges() -> None:
    assert rescale([-0.5, -0.5], 100, 224) == pytest.approx([-0.5, -0.5])
    assert rescale([99.5, 49.5], (100, 50), 224) == pytest.approx([223.5, 223.5])
    assert rescale(0, 2, 1) == pytest.approx(-0.25)


def test_mirror_permutation() -> None:
    assert (MIRROR_68[MIRROR_68] == np.arange(68)).all()
    face = mean_face()
    assert np.allclose(face[MIRROR_68] * (-1, 1) + (224, 0), face, atol=1e-9)
    assert np.allclose(five_points(face[MIRROR_68]), five_points(face)[[1, 0, 2, 4, 3]])


def test_five_points_of_the_mean_face() -> None:
    assert np.allclose(five_points(mean_face())[[2, 3, 4]], mean_face()[[30, 48, 54]])
    assert np.allclose(five_points(mean_face())[0], (457 / 6, 623 / 6))


def test_a_mirrored_face_is_aligned_to_the_mirrored_crop() -> None:
    """Mirror the image and its landmarks: the crop is the mirrored crop, but for the template's own asymmetry."""
    size = 224
    target = (template(size) + (size - 1, 0) + template(size)[[1, 0, 2, 4, 3]] * (-1, 1)) / 2  # symmetric template
    face = transform(turned(0.2, 1.3, (40, 10)), mean_face())
    mirrored = face[MIRROR_68] * (-1, 1) + (399, 0)
    ours = transform(similarity(five_points(face), target), face)
    theirs = transform(similarity(five_points(mirrored), target), mirrored)
    assert np.allclose(theirs[MIRROR_68] * (-1, 1) + (size - 1, 0), ours, atol=1e-9)


def test_invert_and_scale() -> None:
    matrix = turned(0.4, 2.5, (3, -7))
    points = np.random.default_rng(2).normal(size=(9, 2))
    assert np.allclose(transform(invert(matrix), transform(matrix, points)), points)
    assert scale_of(matrix) == pytest.approx(2.5)


def test_transform_box_turns_about_its_centre() -> None:
    quarter = turned(np.pi / 2, 2, (0, 0))
    assert np.allclose(transform_box(quarter, (1, 1, 3, 5)), (-6 - 2, 4 - 4, -6 + 2, 4 + 4))
    stretched = np.array([[2.0, 0, 1], [0, 3.0, 0]])
    assert np.allclose(transform_box(stretched, (0, 0, 2, 2)), (1, 0, 5, 6))


@pytest.mark.parametrize("scale", [0.11, 0.3, 0.6, 1.0, 2.3])
def test_warp_puts_a_dot_where_the_matrix_says(scale: float) -> None:
    point = np.array([203.3, 251.8])
    sigma = 3 / min(scale, 1)
    image = dots((480, 420), point[None], sigma)
    matrix = turned(0.35, scale, (0, 0))
    matrix[:, 2] = (60.4, 50.7) - transform(matrix, point)
    crop = warp(image, matrix, 112)
    assert crop.shape == (112, 112, 3)
    radius = int(min(4 * sigma * scale, 45))
    assert np.allclose(centroid(crop, np.array([60.4, 50.7]), radius), (60.4, 50.7), atol=0.06)


def test_warp_does_not_skip_pixels() -> None:
    """Noise shrunk eight times becomes its mean; plain bilinear sampling keeps nearly all of its contrast."""
    noise = np.random.default_rng(3).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    matrix = turned(0.3, 1 / 8, (30, -20))
    inside = np.s_[40:60, 40:60]
    assert warp(noise, matrix, 100)[inside].std() < 15
    assert warp(noise, matrix, 100, antialias=False)[inside].std() > 40


def test_warp_without_reduction_is_opencvs() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    matrix = turned(-0.2, 0.9, (-4, 9))
    assert (warp(noise, matrix, 64) == cv2.warpAffine(noise, matrix, (64, 64))).all()
    assert (warp(noise, turned(0, 1, (500, 500)), 64) == 0).all()


NUMBERS = st.floats(-500, 500, allow_nan=False, width=32)


TURNS = st.tuples(st.floats(0.2, 5), st.floats(-3.1, 3.1), NUMBERS, NUMBERS)


@settings(deadline=None)
@given(turn=TURNS, points=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8, unique=True))
def test_any_similarity_is_found_again_and_undone(turn, points):
    points, matrix = np.array(points, float), turned(turn[1], turn[0], turn[2:])
    assume(np.ptp(points, axis=0).max() > 1)
    moved = transform(matrix, points)
    np.testing.assert_allclose(similarity(points, moved), matrix, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(transform(invert(matrix), moved), points, rtol=1e-6, atol=1e-4)
    assert scale_of(matrix) == pytest.approx(turn[0])


@settings(deadline=None)
@given(
    points=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5), sizes=st.tuples(*[st.integers(1, 600)] * 2)
)
def test_rescaling_there_and_back_changes_nothing(points, sizes):
    there = rescale(np.array(points, float), *sizes)
    np.testing.assert_allclose(rescale(there, *reversed(sizes)), points, rtol=1e-6, atol=1e-3)


def test_overlap_by_hand() -> None:
    # Inclusive pixels: 10 x 10 and 10 x 10 with 5 x 5 in common.
    assert overlap(np.array([0, 0, 9, 9]), np.array([5, 5, 14, 14])) == pytest.approx(25 / 175)
    assert overlap(np.array([0, 0, 9, 9]), np.array([20, 0, 29, 9])) == 0
    box = np.array([120.0, 80.0, 270.0, 240.0])
    assert overlap(box, box) == 1
