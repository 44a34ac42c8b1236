"""A network that sees two rows of pixels only, so that every measure is known by hand."""

import numpy as np
import pytest
import torch

from eval.faithfulness import removal
from eval.faithfulness.removal import ExplainedFaces, area, blur, relevance_order

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
    probabilities, stays = removal.road(faces, PLACES, torch.zeros(1, 3, SIZE, SIZE))
    # 10 %: the white row below tells what was there; from 20 % on only black is left.
    assert probabilities[0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0], abs=1e-3)
    assert stays.tolist() == [[True, False, False, False, False, False, False]]
    probabilities, stays = removal.road(faces, removal.reverse(PLACES), torch.zeros(1, 3, SIZE, SIZE))
    assert probabilities[0].tolist() == pytest.approx([1] * 7, abs=1e-3)
    assert stays.all()


def test_road_adds_the_noise(faces):
    noise = torch.full((1, 3, SIZE, SIZE), 0.5)
    plain = removal.road(faces, PLACES, torch.zeros_like(noise))[0]
    noisy = removal.road(faces, PLACES, noise)[0]
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
