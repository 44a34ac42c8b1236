import numpy as np
import pytest
import torch
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from eval.faithfulness.imputation import impute


def image(values):
    return torch.tensor(values, dtype=torch.float32)[None, None]


def hidden(shape, *pixels):
    known = torch.ones(1, *shape, dtype=torch.bool)
    for pixel in pixels:
        known[0][pixel] = False
    return known


def smooth_masks(count, height, width, share):
    """Hide the highest `share` of a smooth random map, as a class map's most relevant pixels are patches."""
    maps = torch.rand(count, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    flat = torch.nn.functional.interpolate(maps, (height, width), mode="bilinear").flatten(1)
    return (flat.argsort(dim=1, descending=True).argsort(dim=1) >= round(share * height * width)).view(
        -1, height, width
    )


def solved(picture, known):
    """The same equations, written down pixel by pixel and solved by scipy."""
    channels, height, width = picture.shape
    unknown = [tuple(place) for place in np.argwhere(~known)]
    number = {place: row for row, place in enumerate(unknown)}
    system, right = lil_matrix((len(unknown), len(unknown))), np.zeros((len(unknown), channels))
    for (row, column), equation in number.items():
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                place = (row + down, column + across)
                inside = 0 <= place[0] < height and 0 <= place[1] < width
                if (down, across) == (0, 0) or not inside:
                    continue
                weight = 1 / 12 if down and across else 1 / 6
                system[equation, equation] += weight
                if place in number:
                    system[equation, number[place]] -= weight
                else:
                    right[equation] += weight * picture[:, place[0], place[1]]
    filled = picture.copy()
    filled[:, ~known] = spsolve(system.tocsc(), right).reshape(len(unknown), channels).T
    return filled


def test_a_single_pixel_is_the_weighted_mean_of_its_neighbours():
    values = [[1, 2, 3], [4, 100, 6], [7, 8, 12]]
    filled = impute(image(values), hidden((3, 3), (1, 1)), tolerance=1e-7)
    expected = (2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 12) / 12
    assert filled[0, 0, 1, 1].item() == pytest.approx(expected, abs=1e-5)
    assert filled[0, 0].flatten()[[0, 1, 2, 3, 5, 6, 7, 8]].tolist() == [1, 2, 3, 4, 6, 7, 8, 12]


def test_a_corner_counts_only_neighbours_in_the_image():
    filled = impute(image([[9, 2], [4, 8]]), hidden((2, 2), (0, 0)), tolerance=1e-7)
    assert filled[0, 0, 0, 0].item() == pytest.approx((2 / 6 + 4 / 6 + 8 / 12) / (1 / 6 + 1 / 6 + 1 / 12), abs=1e-5)


def test_pixels_in_a_row_are_drawn_as_a_line():
    filled = impute(image([[0, 50, 50, 3]]), hidden((1, 4), (0, 1), (0, 2)), tolerance=1e-7)
    assert filled.flatten().tolist() == pytest.approx([0, 1, 2, 3], abs=1e-5)


def test_a_hole_in_a_ramp_is_filled_with_the_ramp():
    row, column = torch.meshgrid(torch.arange(20.0), torch.arange(31.0), indexing="ij")
    ramp = (0.01 * row + 0.02 * column)[None, None]
    known = torch.ones(1, 20, 31, dtype=torch.bool)
    known[0, 4:15, 7:26] = False
    torch.testing.assert_close(impute(ramp * known, known, tolerance=1e-6), ramp, rtol=0, atol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_many_images_at_once_against_scipy(share):
    images = torch.rand(5, 3, 29, 34, generator=torch.Generator().manual_seed(1))
    known = smooth_masks(5, 29, 34, share)
    exact, quick = impute(images, known, tolerance=1e-6), impute(images, known)
    for row in range(5):
        expected = solved(images[row].numpy().astype(float), known[row].numpy())
        assert np.abs(exact[row].numpy() - expected).max() < 1e-4
        assert np.abs(quick[row].numpy() - expected).max() < 0.01
        assert np.abs(quick[row].numpy() - expected).mean() < 1e-3


def test_scattered_pixels_against_scipy():
    images = torch.rand(2, 1, 21, 17, generator=torch.Generator().manual_seed(2))
    known = torch.rand(2, 21, 17, generator=torch.Generator().manual_seed(3)) < 0.3
    filled = impute(images, known, tolerance=1e-6)
    for row in range(2):
        expected = solved(images[row].numpy().astype(float), known[row].numpy())
        assert filled[row].numpy() == pytest.approx(expected, abs=1e-5)


def test_against_the_imputer_of_grad_cam():
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    images, known = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(4)), smooth_masks(2, 24, 24, 0.4)
    filled = impute(images, known, tolerance=1e-6)
    for row in range(2):
        other = road.NoisyLinearImputer(noise=0)(images[row], known[row].float())
        torch.testing.assert_close(filled[row], other, rtol=0, atol=1e-4)


def test_noise_lands_on_imputed_pixels_only():
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))
    known, noise = smooth_masks(2, 12, 12, 0.5), torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(6))
    change = impute(images, known, noise) - impute(images, known)
    torch.testing.assert_close(change, 0.01 * noise * ~known[:, None], rtol=0, atol=1e-6)


def test_nothing_missing_changes_nothing():
    images = torch.rand(2, 3, 12, 12)
    assert torch.equal(impute(images, torch.ones(2, 12, 12, dtype=torch.bool), torch.randn(2, 3, 12, 12)), images)


def test_what_cannot_be_imputed_is_refused():
    images, known = torch.rand(2, 3, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
    known[1] = False
    with pytest.raises(ValueError, match="without any known pixel"):
        impute(images, known)
    images[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        impute(images, known | True)
