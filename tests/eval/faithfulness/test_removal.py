"""A network that sees two rows of pixels only, so that every measure is known by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eval.faithfulness import removal, road
from eval.faithfulness.removal import BLUR, ExplainedFaces, area, blur, move, relevance_order

SIZE = 10
PLACES = torch.arange(SIZE * SIZE).view(1, SIZE, SIZE)  # the right order: the rows 0 and 1 come first


def seen(images):
    """Probabilities of two classes: the second is the brightness of the upper two of ten rows."""
    bright = images[:, :, :2].mean((1, 2, 3))
    return torch.stack([1 - bright, bright], 1)


@pytest.fixture
def faces():
    """A face whose two upper rows are white, and whose blurred copy is black."""
    images = torch.zeros(1, 3, SIZE, SIZE)
    images[:, :, :2] = 1
    copies, classes = torch.zeros_like(images), torch.tensor([1])
    return ExplainedFaces(seen, images, copies, classes, full=torch.ones(1).double(), blurred=torch.zeros(1).double())


def test_deleting_what_the_network_sees_drops_at_once(faces):
    right = removal.deletion(faces, PLACES)
    assert right[0].tolist() == pytest.approx([1, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    wrong = removal.deletion(faces, removal.reverse(PLACES))
    assert wrong[0].tolist() == pytest.approx([1] * 9 + [0.5, 0])
    assert area(right.numpy()) == pytest.approx([0.1])
    assert area(wrong.numpy()) == pytest.approx([0.9])


def test_inserting_what_the_network_sees_rises_at_once(faces):
    right = removal.insertion(faces, PLACES)
    assert right[0].tolist() == pytest.approx([0, 0.5] + [1] * 9)
    assert removal.insertion(faces, removal.reverse(PLACES))[0].tolist() == pytest.approx([0] * 9 + [0.5, 1])
    assert area(right.numpy()) == pytest.approx([0.9])


def test_a_random_order_lies_between(faces):
    areas = []
    for seed in range(20):
        noise = torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
        curve = removal.deletion(faces, relevance_order(noise, noise))
        inserted = removal.insertion(faces, removal.reverse(relevance_order(noise, noise)))
        torch.testing.assert_close(inserted, curve.flip(1))  # what the random control relies on
        areas.append(area(curve.numpy())[0])
    assert min(areas) > 0.3
    assert max(areas) < 0.7
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


def test_road_by_hand(faces):
    probabilities, stays = road.road(faces, PLACES, torch.zeros(1, 3, SIZE, SIZE))
    # 10 %: the white row below tells what was there; from 20 % on only black is left.
    assert probabilities[0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0], abs=1e-3)
    assert stays.tolist() == [[True, False, False, False, False, False, False]]
    probabilities, stays = road.road(faces, removal.reverse(PLACES), torch.zeros(1, 3, SIZE, SIZE))
    assert probabilities[0].tolist() == pytest.approx([1] * 7, abs=1e-3)
    assert stays.all()


def test_road_adds_the_noise(faces):
    noise = torch.full((1, 3, SIZE, SIZE), 0.5)
    plain = road.road(faces, PLACES, torch.zeros_like(noise))[0]
    noisy = road.road(faces, PLACES, noise)[0]
    # Half of the rows that the network sees are imputed at 10 %, then all.
    assert (noisy - plain)[0].tolist() == pytest.approx([0.0025] + [0.005] * 6, abs=1e-5)


def test_regions_by_hand(faces):
    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    mask[:, :2] = True
    black = torch.zeros(1, 3, SIZE, SIZE)

    def right(*shifts):
        return removal.regions(
            seen, faces.images, torch.tensor([1]), masks=mask, shifts=torch.tensor([shifts]), noise=black
        )

    assert right((5, 0)).tolist() == [[1, 1, 0, 0, 1]]
    assert right((0, 0)).tolist() == [[1, 1, 0, 1, 0]]
    assert right((5, 0), (0, 0)).tolist() == [[1, 1, 0, 0.5, 0.5]]
    wrong = removal.regions(
        seen, faces.images, torch.tensor([0]), masks=mask, shifts=torch.tensor([[[5, 0]]]), noise=black
    )
    assert wrong.tolist() == [[0, 0, 1, 1, 0]]


def test_the_ends_are_the_face_and_its_blurred_copy():
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    faces = removal.explain_faces(seen, images, torch.tensor([1, 0, 1]))
    rows = torch.arange(3)
    assert torch.equal(faces.copies, blur(images))
    assert faces.full.tolist() == pytest.approx(seen(images)[rows, faces.classes].tolist())
    assert faces.blurred.tolist() == pytest.approx(seen(blur(images))[rows, faces.classes].tolist())
    order = relevance_order(images[:, 0], images[:, 1])
    curve = removal.deletion(faces, order)
    assert torch.equal(curve[:, 0], faces.full)
    assert torch.equal(curve[:, -1], faces.blurred)
    half = torch.where((order < 288)[:, None], faces.copies, images)
    assert curve[:, 5].tolist() == pytest.approx(seen(half)[rows, faces.classes].tolist())


@pytest.mark.parametrize("size", [48, 96])
def test_blur_against_scipy(size):
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(images.numpy(), (0, 0, BLUR * size, BLUR * size), mode="mirror", truncate=4)
    assert blur(images).numpy() == pytest.approx(expected, abs=1e-5)


def test_blur_keeps_a_flat_image_of_any_size():
    for size in (7, 32, 225):
        torch.testing.assert_close(blur(torch.full((1, 3, size, size), 0.3)), torch.full((1, 3, size, size), 0.3))


def test_order_runs_from_the_highest_value_to_the_lowest():
    maps = torch.tensor([[[0.5, -2.0], [3.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]]])
    order = relevance_order(maps, torch.rand(2, 2, 2))
    assert order.tolist() == [[[2, 3], [0, 1]], [[3, 2], [1, 0]]]


def test_equal_values_come_in_the_order_of_the_ties():
    ties = torch.tensor([[[0.9, 0.1], [0.5, 0.2]]])
    assert relevance_order(torch.zeros(1, 2, 2), ties).tolist() == [[[3, 0], [2, 1]]]
    assert relevance_order(torch.tensor([[[0.0, 0.0], [7.0, 0.0]]]), ties).tolist() == [[[3, 1], [0, 2]]]


def test_a_map_that_is_not_finite_has_no_order():
    with pytest.raises(ValueError, match="not finite"):
        relevance_order(torch.tensor([[[0.0, torch.nan], [1.0, 2.0]]]), torch.rand(1, 2, 2))


def test_regions_move_down_and_right_and_come_back():
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, 3, 0] = True
    moved = move(mask, torch.tensor([[2, 1], [0, 3]]))
    assert np.argwhere(moved.numpy()).tolist() == [[0, 1, 1], [1, 3, 3]]
