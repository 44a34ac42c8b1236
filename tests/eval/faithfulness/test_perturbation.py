import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eval.faithfulness.removal import BLUR, blur, move, relevance_order


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
