"""Augmentation: image and heatmap stay together, probabilities and ranges are those of the specification."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as torchvision

from train.data.transforms import (
    AUGMENTATIONS,
    IMAGENET,
    N_UNIFORMS,
    _by_lines,
    _by_pixels,
    _colours,
    _erase,
    _hue,
    augment_paper,
    augment_published,
    evaluation_input,
    precrop_size,
    standardise,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def uniforms(count, seed=0):
    return np.random.default_rng(seed).random((count, N_UNIFORMS), np.float32)


def bright_spot(x, y, side, sigma=0.03):
    """A Gaussian at a place given as shares of the side."""
    row, column = (np.mgrid[:side, :side] + 0.5) / side
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)).astype(np.float32)


def centre(picture):
    """Centre of mass (x, y) of what is bright, as shares of the side."""
    picture = np.asarray(picture)
    weight = np.clip(picture - 0.3 * picture.max(), 0, None)
    row, column = (np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5) / picture.shape[0]
    return np.array([(weight * column).sum(), (weight * row).sum()]) / weight.sum()


def spots(places, side):
    """Faces with a bright spot each, as stored."""
    drawn = [np.repeat((255 * bright_spot(x, y, side))[..., None], 3, 2) for x, y in places]
    return torch.from_numpy(np.stack(drawn).astype(np.uint8))


def only_moved(monkeypatch):
    monkeypatch.setattr("train.data.transforms._erase", lambda images, uniforms, generator: images)
    monkeypatch.setattr("train.data.transforms._colours", lambda images, uniforms: images)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("size", [112, 224])
def test_image_and_heatmap_stay_together(name, size, generator, monkeypatch):
    only_moved(monkeypatch)
    places = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2))
    maps = torch.from_numpy(np.stack([bright_spot(x, y, 224) for x, y in places]))
    moved, heatmaps = AUGMENTATIONS[name](spots(places, precrop_size(size)), maps, uniforms(60), size, generator)
    assert moved.shape == (60, 3, size, size)
    assert heatmaps.shape == (60, size, size)
    assert moved.dtype == heatmaps.dtype == torch.float32
    for image, heatmap in zip(moved, heatmaps, strict=True):
        assert np.abs(centre(image[0]) - centre(heatmap)).max() * size < 0.75  # pixels
    other_side = [(centre(heatmap)[0] > 0.5) == (x > 0.5) for heatmap, (x, _) in zip(heatmaps, places, strict=True)]
    assert 0.25 < np.mean(other_side) < 0.75  # every second one is mirrored


def test_paper_is_an_exact_window_at_256_to_224(generator):
    faces = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (200, 256, 256, 3), np.uint8))
    drawn = uniforms(200)
    moved, _ = augment_paper(faces, None, drawn, 224, generator)
    seen = set()
    for face, image, row in zip(faces.numpy(), moved, drawn, strict=True):
        top, left = (row[:2] * 33).astype(int)
        window = face[top : top + 224, left : left + 224]
        window = window[:, ::-1] if row[2] < 0.5 else window
        np.testing.assert_array_equal(image.permute(1, 2, 0), (window / np.float32(255)))
        seen |= {("top", int(top)), ("left", int(left))}
    assert {("top", 0), ("top", 32), ("left", 0), ("left", 32)} <= seen


def test_the_window_of_the_heatmap_by_hand(generator):
    maps = torch.rand(40, 224, 224, generator=generator)
    drawn = uniforms(40)
    _, moved = augment_paper(torch.zeros(40, 256, 256, 3, dtype=torch.uint8), maps, drawn, 224, generator)
    for before, after, row in zip(maps.numpy(), moved.numpy(), drawn, strict=True):
        top, left = (row[:2] * 33).astype(int)
        window = cv2.resize(before, (256, 256), interpolation=cv2.INTER_LINEAR)[top : top + 224, left : left + 224]
        inner = slice(8, -8)  # cv2 repeats the border, beyond it is 0 here
        expected = (window[:, ::-1] if row[2] < 0.5 else window)[inner, inner]
        np.testing.assert_allclose(after[inner, inner], expected, atol=2e-3)


def test_published_geometry_by_hand(generator, monkeypatch):
    """Turn as cv2 does, cut, resize, mirror: two samplings of a smooth picture equal the one that is made of them."""
    only_moved(monkeypatch)
    side, size = 256, 224
    row, column = np.mgrid[:side, :side] / side
    smooth = np.stack([np.sin(5 * row + 2), np.cos(4 * column), np.sin(3 * (row + column))], 2)
    face = np.round(127 + 100 * smooth).astype(np.uint8)
    drawn = uniforms(30)
    moved, _ = augment_published(torch.from_numpy(face)[None].expand(30, -1, -1, -1), None, drawn, size, generator)
    for image, row in zip(moved, drawn.astype(np.float64), strict=True):
        angle = 12 * row[1] - 6 if row[0] < 0.5 else 0.0
        turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1.0)
        turned = cv2.warpAffine(face, turn, (side, side), flags=cv2.INTER_CUBIC)
        cut = side * np.sqrt(0.8 + 0.2 * row[2])
        left, top = row[3:5] * (side - cut)
        scale = size / cut
        resize = np.array([[scale, 0, -scale * left + (scale - 1) / 2], [0, scale, -scale * top + (scale - 1) / 2]])
        expected = cv2.warpAffine(turned, resize, (size, size), flags=cv2.INTER_LINEAR)
        expected = expected[:, ::-1] if row[5] < 0.5 else expected
        inner = slice(24, -24)  # a turned face has black corners
        np.testing.assert_allclose(255 * image.permute(1, 2, 0)[inner, inner], expected[inner, inner], atol=2.5)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_a_face_fares_alike_in_any_batch(name, generator):
    faces = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 73, 73, 3), np.uint8))
    maps, drawn = torch.rand(12, 224, 224), uniforms(12)
    drawn[:, 16] = 0.9  # no rectangle: its noise is drawn for the batch
    together = AUGMENTATIONS[name](faces, maps, drawn, 64, generator)
    for face in range(12):
        one = slice(face, face + 1)
        alone = AUGMENTATIONS[name](faces[one], maps[one], drawn[one], 64, generator)
        for part, whole_batch in zip(alone, together, strict=True):
            torch.testing.assert_close(part[0], whole_batch[face], rtol=0, atol=1e-6)


def test_evaluation_sees_the_whole_image_without_aliasing():
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, ::2] = 200  # stripes of one pixel, mean 100: sampling without a filter would give 0 or 200
    back = evaluation_input(image, 64) * torch.tensor(IMAGENET["std"])[:, None, None]
    back += torch.tensor(IMAGENET["mean"])[:, None, None]
    torch.testing.assert_close(back, torch.full((3, 64, 64), 100 / 255), rtol=0, atol=1e-6)


def test_evaluation_keeps_places():
    image = np.repeat((255 * bright_spot(0.8, 0.3, 256))[..., None], 3, 2).astype(np.uint8)
    shown = evaluation_input(image, 112)[1].numpy()
    np.testing.assert_allclose(centre(shown - shown.min()), [0.8, 0.3], atol=1e-3)


def test_normalise_by_hand():
    image = torch.full((1, 3, 2, 2), 0.5)
    expected = [(0.5 - mean) / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    torch.testing.assert_close(standardise(image)[0, :, 1, 0], torch.tensor(expected))


def test_published_window_and_turn(generator, monkeypatch):
    """Area of 80 to 100 % and up to 6 degrees every second time, read from two spots that are a known way apart."""
    only_moved(monkeypatch)
    image = np.zeros((256, 256, 3), np.uint8)
    image[..., 0] = 255 * bright_spot(0.4, 0.5, 256)
    image[..., 1] = 255 * bright_spot(0.6, 0.5, 256)
    areas, turns = [], []
    for start in range(8):
        faces = torch.from_numpy(image)[None].expand(50, -1, -1, -1)
        moved, _ = augment_published(faces, None, uniforms(50, start), 224, generator)
        for one in moved:
            way = centre(one[1]) - centre(one[0])
            areas.append((0.2 / np.hypot(*way)) ** 2)
            turns.append(np.degrees(np.arctan(way[1] / way[0])))
    areas, turns = np.array(areas), np.abs(turns)
    assert 0.79 < areas.min() < 0.82
    assert 0.98 < areas.max() < 1.01
    assert abs(areas.mean() - 0.9) < 0.02
    assert abs((turns > 0.1).mean() - 0.49) < 0.08
    assert 5.5 < turns.max() < 6.1


def coloured(images, seed=0):
    return _colours(images, np.random.default_rng(seed).random((len(images), 10), np.float32))


def test_grey_one_in_five():
    images = torch.rand(2000, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    spread = coloured(images)
    grey = (spread.amax(1) - spread.amin(1)).amax((1, 2)) < 1e-5
    assert abs(grey.float().mean() - 0.2) < 0.03


def test_colours_four_in_five_and_their_ranges():
    values = coloured(torch.full((2000, 3, 8, 8), 0.5))[:, 0, 0, 0]  # uniform grey: brightness is all that shows
    changed = (values - 0.5).abs() > 1e-4
    assert abs(changed.float().mean() - 0.8) < 0.03
    assert values.min().item() == pytest.approx(0.3, abs=0.01)
    assert values.max().item() == pytest.approx(0.7, abs=0.01)


def test_colours_are_those_of_torchvision():
    images = torch.rand(300, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    drawn = np.random.default_rng(3).random((300, 10), np.float32)
    changes = [
        torchvision.adjust_brightness,
        torchvision.adjust_contrast,
        torchvision.adjust_saturation,
        lambda image, factor: torchvision.adjust_hue(image, (factor - 1) / 4),
    ]
    for image, result, row in zip(images, _colours(images.clone(), drawn), drawn, strict=True):
        expected = torchvision.rgb_to_grayscale(image, 3) if row[0] < 0.2 else image
        for number in np.argsort(row[6:10]) if row[1] < 0.8 else ():
            expected = changes[number](expected, float(0.6 + 0.8 * row[2 + number]))
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-3)  # torchvision's luma has four digits


def test_hue_moves_by_a_tenth_of_the_circle():
    red = torch.tensor([0.5, 0.2, 0.2])[None, :, None, None].expand(3, -1, 4, 4)
    turned = _hue(red, torch.tensor([0.6, 1.0, 1.4])[:, None, None, None])
    hues = [cv2.cvtColor(one.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)[0, 0, 0] for one in turned]
    np.testing.assert_allclose((np.array(hues) + 180) % 360 - 180, [-36, 0, 36], atol=1e-3)


def rectangles(count, generator, side=100, seed=0):
    drawn = np.random.default_rng(seed).random((count, N_UNIFORMS - 16), np.float32)
    return _erase(torch.full((count, 3, side, side), 0.5), drawn, generator)


def test_erasing_every_second_image_two_to_thirty_three_percent(generator):
    shares = []
    for gone in (rectangles(1000, generator) != 0.5).all(1).numpy():
        if gone.any():
            shares.append(gone.mean())
            rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
            assert gone.sum() == len(rows) * len(columns)
            assert 0.28 < len(rows) / len(columns) < 3.5
    assert abs(len(shares) / 1000 - 0.5) < 0.05
    assert 0.018 < min(shares) < 0.03
    assert 0.31 < max(shares) < 0.34


def test_erasing_puts_normal_noise(generator):
    changed = rectangles(100, generator)
    noise = changed[changed != 0.5]
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


def test_own_normalisation_forgets_light_and_tint():
    image = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 0.6, (1, 3, 8, 8)).astype(np.float32))
    given = standardise(image, "image")
    np.testing.assert_allclose(given.mean((2, 3)), 0, atol=1e-6)
    spread = image.std(correction=0)
    expected = (image[0, 1, 2, 3] - image[0, 1].mean()) / (spread + 0.05)
    assert given[0, 1, 2, 3].item() == pytest.approx(expected.item(), abs=1e-6)
    tinted = image + torch.tensor([0.1, -0.05, 0.2])[:, None, None]
    shifted = standardise(tinted, "image") * (tinted.std(correction=0) + 0.05)
    torch.testing.assert_close(shifted, given * (spread + 0.05), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(9, 20, 20, 3), (9, 20, 20)])
def test_windows_by_lines_are_those_by_pixels(shape):
    """A CPU cuts them in one way and a GPU in the other."""
    pictures, rng = torch.rand(shape), np.random.default_rng(0)
    where = rng.integers(0, 5, (9, 2)), rng.random(9) < 0.5
    assert torch.equal(_by_lines(pictures, *where, 16), _by_pixels(pictures, *where, 16))
