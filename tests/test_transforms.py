"""Augmentation: image and heatmap stay together, chances and ranges are those of the specification."""

import cv2
import numpy as np
import pytest
import torch

from train.transforms import AUGMENTATIONS, IMAGENET, _colours, _erase, evaluation, normalise, paper, published

SIDE = 96


def bright_spot(x: float, y: float, side: int, sigma: float = 0.03) -> np.ndarray:
    """A Gaussian at a place given as shares of the side."""
    row, column = (np.mgrid[:side, :side] + 0.5) / side
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)).astype(np.float32)


def centre(picture: np.ndarray) -> np.ndarray:
    """Centre of mass (x, y) of what is bright, as shares of the side."""
    weight = np.clip(picture - 0.3 * picture.max(), 0, None)
    row, column = (np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5) / picture.shape[0]
    return np.array([(weight * column).sum(), (weight * row).sum()]) / weight.sum()


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("size", [112, 224])
def test_image_and_heatmap_stay_together(name, size, monkeypatch):
    monkeypatch.setattr("train.transforms._erase", lambda image, rng: image)
    monkeypatch.setattr("train.transforms._colours", lambda image, rng: image)
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(60):
        x, y = rng.uniform(0.3, 0.7, 2)
        image = np.repeat((255 * bright_spot(x, y, 256))[..., None], 3, 2).astype(np.uint8)
        moved, heatmap = AUGMENTATIONS[name](image, bright_spot(x, y, 224), size, rng)
        assert moved.shape == (size, size, 3)
        assert heatmap.shape == (size, size)
        assert moved.dtype == heatmap.dtype == np.float32
        assert np.abs(centre(moved[..., 0]) - centre(heatmap)).max() * size < 0.75  # pixels
        sides.append((centre(heatmap)[0] > 0.5) == (x > 0.5))
    assert 0.25 < np.mean(sides) < 0.75  # every second one is mirrored


def test_paper_is_an_exact_window_at_256_to_224():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (256, 256, 3), np.uint8)
    seen = set()
    for seed in range(200):
        moved, _ = paper(image, None, 224, np.random.default_rng(seed))
        draw = np.random.default_rng(seed)
        top, left = draw.integers(0, 33, 2)
        window = image[top : top + 224, left : left + 224]
        window = window[:, ::-1] if draw.random() < 0.5 else window
        np.testing.assert_array_equal(np.round(moved * 255).astype(np.uint8), window)
        seen |= {("top", top), ("left", left)}
    assert {("top", 0), ("top", 32), ("left", 0), ("left", 32)} <= seen


def test_the_same_chances_give_the_same_picture():
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    for augment in (paper, published):
        first, second = (augment(image, None, 64, np.random.default_rng(7))[0] for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_evaluation_sees_the_whole_image_without_aliasing():
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, ::2] = 200  # stripes of one pixel, mean 100: sampling without a filter would give 0 or 200
    back = evaluation(image, 64) * torch.tensor(IMAGENET["std"])[:, None, None]
    back += torch.tensor(IMAGENET["mean"])[:, None, None]
    torch.testing.assert_close(back, torch.full((3, 64, 64), 100 / 255), rtol=0, atol=1e-6)


def test_evaluation_keeps_places():
    image = np.repeat((255 * bright_spot(0.8, 0.3, 256))[..., None], 3, 2).astype(np.uint8)
    shown = evaluation(image, 112)[1].numpy()
    np.testing.assert_allclose(centre(shown - shown.min()), [0.8, 0.3], atol=1e-3)


def test_normalise_by_hand():
    image = np.full((2, 2, 3), 0.5, np.float32)
    expected = [(0.5 - mean) / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    torch.testing.assert_close(normalise(image)[:, 1, 0], torch.tensor(expected))


def test_published_window_and_turn(monkeypatch):
    """Area of 80 to 100 % and up to 6 degrees every second time, read from two spots that are a known way apart."""
    monkeypatch.setattr("train.transforms._erase", lambda image, rng: image)
    monkeypatch.setattr("train.transforms._colours", lambda image, rng: image)
    image = np.zeros((256, 256, 3), np.uint8)
    image[..., 0] = 255 * bright_spot(0.4, 0.5, 256)
    image[..., 1] = 255 * bright_spot(0.6, 0.5, 256)
    areas, turns = [], []
    rng = np.random.default_rng(0)
    for _ in range(400):
        moved, _ = published(image, None, 224, rng)
        way = centre(moved[..., 1]) - centre(moved[..., 0])
        areas.append((0.2 / np.hypot(*way)) ** 2)
        turns.append(np.degrees(np.arctan(way[1] / way[0])))
    areas, turns = np.array(areas), np.abs(turns)
    assert 0.79 < areas.min() < 0.82
    assert 0.98 < areas.max() < 1.01
    assert abs(areas.mean() - 0.9) < 0.02
    assert abs((turns > 0.1).mean() - 0.49) < 0.08
    assert 5.5 < turns.max() < 6.1


def test_grey_one_in_five():
    rng = np.random.default_rng(0)
    image = rng.random((8, 8, 3)).astype(np.float32)
    grey = [np.ptp(_colours(image, rng), axis=2).max() < 1e-5 for _ in range(2000)]
    assert abs(np.mean(grey) - 0.2) < 0.03


def test_colours_four_in_five_and_their_ranges():
    rng = np.random.default_rng(0)
    image = np.full((8, 8, 3), 0.5, np.float32)  # uniform grey: brightness is all that shows
    values = np.array([_colours(image, rng)[0, 0, 0] for _ in range(2000)])
    changed = np.abs(values - 0.5) > 1e-4
    assert abs(changed.mean() - 0.8) < 0.03
    assert values.min() == pytest.approx(0.3, abs=0.01)
    assert values.max() == pytest.approx(0.7, abs=0.01)


def test_hue_moves_by_a_tenth_of_the_circle():
    rng = np.random.default_rng(0)
    image = np.broadcast_to(np.float32([0.5, 0.2, 0.2]), (4, 4, 3)).copy()
    hues = []
    for _ in range(800):
        hue, saturation, _ = cv2.cvtColor(_colours(image, rng), cv2.COLOR_RGB2HSV)[0, 0]
        if saturation > 0.01:
            hues.append((hue + 180) % 360 - 180)
    assert -36.5 < min(hues) < -30
    assert 30 < max(hues) < 36.5


def test_erasing_every_second_image_two_to_thirty_three_percent():
    rng = np.random.default_rng(0)
    image = np.full((100, 100, 3), 0.5, np.float32)
    shares = []
    for _ in range(1000):
        gone = (_erase(image, rng) != 0.5).all(2)
        if gone.any():
            shares.append(gone.mean())
            rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
            ratio = len(rows) / len(columns)
            assert 0.28 < ratio < 3.5
    assert abs(len(shares) / 1000 - 0.5) < 0.05
    assert 0.018 < min(shares) < 0.03
    assert 0.31 < max(shares) < 0.34


def test_erasing_puts_normal_noise():
    rng = np.random.default_rng(0)
    image = np.full((100, 100, 3), 0.5, np.float32)
    noise = np.concatenate([(changed := _erase(image, rng))[changed != 0.5] for _ in range(100)])
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


def test_own_normalisation_forgets_light_and_tint():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.2, 0.6, (8, 8, 3)).astype(np.float32)
    given = normalise(image, "image")
    np.testing.assert_allclose(given.mean((1, 2)), 0, atol=1e-6)
    expected = (image[2, 3, 1] - image[..., 1].mean()) / (image.std() + 0.05)
    assert given[1, 2, 3].item() == pytest.approx(expected, abs=1e-6)
    tinted = image + np.float32([0.1, -0.05, 0.2])
    shifted = normalise(tinted, "image") * (tinted.std() + 0.05)
    torch.testing.assert_close(shifted, given * (image.std() + 0.05), atol=1e-5, rtol=0)
