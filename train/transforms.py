"""What happens to an image between the shard and the network, with its AU heatmap in the same geometry.

Images are uint8 RGB (s, s, 3), heatmaps float32 (t, t) over the same square or None. An augmentation returns a float32
image (size, size, 3) in [0, 1] and a heatmap (size, size), and takes every chance from `rng`.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Pair = tuple[Floats, Floats | None]

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
NORMALISATIONS = {  # of RGB in [0, 1]
    "imagenet": IMAGENET,
    "unit": {"mean": [0.0] * 3, "std": [1.0] * 3},
    "vggface2": {"mean": [131.0912 / 255, 103.8827 / 255, 91.4953 / 255], "std": [1 / 255] * 3},
}
FLAT = 0.05  # added to an image's own deviation, so that a dark one's noise is not blown up
MARGIN = 256 / 224  # an image is made larger than the network's input by this before a window is cut from it
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def normalise(image: Floats, kind: str = "imagenet") -> Tensor:
    """Turn an image (s, s, 3) in [0, 1] into the network's input (3, s, s).

    "imagenet" takes off ImageNet's mean and deviation of each channel. "image" takes off the image's own mean of each
    channel and divides by its deviation plus 0.05, which makes small networks trained from scratch care less for light
    and skin tone. "unit" leaves it as it is and "vggface2" gives 0 to 255 minus that dataset's mean, as the published
    code does for these starts (spec of the methods, section 0.3).
    """
    if kind == "image":
        mean, std = image.mean((0, 1)), image.std() + FLAT
    else:
        mean, std = (np.array(NORMALISATIONS[kind][name], np.float32) for name in ("mean", "std"))
    return torch.from_numpy(np.ascontiguousarray(((image - mean) / std).transpose(2, 0, 1)))


def evaluation(image: Image, size: int, kind: str = "imagenet") -> Tensor:
    """Resize the whole image, antialiased when it shrinks, and normalise: the input (3, size, size) at test time."""
    return normalise(_unit(_resize(image, size)), kind)


def paper(image: Image, heatmap: Floats | None, size: int, rng: np.random.Generator) -> Pair:
    """Cut a random window of `size` from the image at size * 256 / 224; mirror every second one (paper, IV-A)."""
    whole = round(size * MARGIN)
    top, left = rng.integers(0, whole - size + 1, 2)
    mirrored = rng.random() < 0.5

    def move(picture: NDArray) -> NDArray:
        window = _resize(picture, whole)[top : top + size, left : left + size]
        return window[:, ::-1] if mirrored else window

    return _unit(move(image)), None if heatmap is None else np.ascontiguousarray(move(heatmap))


def published(image: Image, heatmap: Floats | None, size: int, rng: np.random.Generator) -> Pair:
    """Augment as the published code does, in its order (spec section 4); heatmaps move by nearest neighbours.

    Resize as in `paper`, turn by up to 6 degrees (every second image), cut a square of 80 to 100 % of the area and
    resize it, mirror, grey (one in five), change colours (four in five), erase a rectangle (every second image).
    """
    whole = round(size * MARGIN)
    angle = rng.uniform(-6, 6) if rng.random() < 0.5 else 0.0
    side = round(whole * math.sqrt(rng.uniform(0.8, 1)))
    top, left = rng.integers(0, whole - side + 1, 2)
    mirrored = rng.random() < 0.5

    def move(picture: NDArray, resize: Callable[[NDArray, int], NDArray], turn: int) -> NDArray:
        turned = _turn(resize(picture, whole), angle, turn)
        window = resize(turned[top : top + side, left : left + side], size)
        return window[:, ::-1] if mirrored else window

    if heatmap is not None:
        heatmap = np.clip(move(heatmap, _nearest, cv2.INTER_NEAREST), 0, 1)
    return _erase(_colours(_unit(move(image, _resize, cv2.INTER_CUBIC)), rng), rng), heatmap


AUGMENTATIONS: dict[str, Callable[[Image, Floats | None, int, np.random.Generator], Pair]] = {
    "paper": paper,
    "published": published,
}


def _resize(picture: NDArray, size: int) -> NDArray:
    if picture.shape[0] == size:
        return picture
    way = cv2.INTER_AREA if size < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture, (size, size), interpolation=way)


def _nearest(picture: NDArray, size: int) -> NDArray:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def _unit(image: NDArray) -> Floats:
    return image.astype(np.float32) / np.float32(255)


def _turn(picture: NDArray, degrees: float, way: int) -> NDArray:
    if degrees == 0.0:
        return picture
    middle = (picture.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=way)


def _colours(image: Floats, rng: np.random.Generator) -> Floats:
    """Grey with 0.2, then with 0.8 brightness, contrast, saturation (factor 0.6 to 1.4), hue (0.1 of the circle)."""
    if rng.random() < 0.2:
        image = np.repeat((image @ LUMA)[..., None], 3, 2)
    if rng.random() >= 0.8:
        return image
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3).astype(np.float32)
    hue = rng.uniform(-0.1, 0.1)
    changes: list[Callable[[Floats], Floats]] = [
        lambda pixels: pixels * brightness,
        lambda pixels: _blend(pixels, np.float32((pixels @ LUMA).mean()), contrast),
        lambda pixels: _blend(pixels, (pixels @ LUMA)[..., None], saturation),
        lambda pixels: _shift_hue(pixels, hue),
    ]
    for number in rng.permutation(4):
        image = np.clip(changes[number](image), 0, 1)
    return image


def _blend(image: Floats, other: Floats | np.float32, share: np.float32) -> Floats:
    return image * share + other * (1 - share)


def _shift_hue(image: Floats, share: float) -> Floats:
    colour = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    colour[..., 0] = (colour[..., 0] + 360 * share) % 360
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_HSV2RGB), np.float32)


def _erase(image: Floats, rng: np.random.Generator) -> Floats:
    """With 0.5, put normal noise on a rectangle of 2 to 33 % of the area and a ratio of 0.3 to 3.3."""
    if rng.random() >= 0.5:
        return image
    size = image.shape[0]
    for _ in range(10):
        area = size * size * rng.uniform(0.02, 0.33)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(3.3)))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if height < size and width < size:
            top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
            erased = image.copy()
            noise = rng.standard_normal((height, width, 3), np.float32)
            erased[top : top + height, left : left + width] = noise
            return erased
    return image
