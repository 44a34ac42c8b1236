"""Augmentation and preprocessing of faces, a batch at a time, with the AU maps in the same geometry.

Faces are uint8 RGB (b, w, w, 3), AU maps float (b, t, t) over the same square or None. An augmentation returns float32
images (b, 3, size, size) in [0, 1] and maps (b, size, size) on the device of what it is given. The
caller draws N_UNIFORMS uniform numbers in [0, 1) for each face, so that the result depends neither on the batch nor on
the device; only the noise of erased rectangles comes from `generator`.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Numbers = NDArray[np.floating]
Places = NDArray[np.int64]
Pair = tuple[Tensor, Tensor | None]

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
NORMALISATIONS = {  # of RGB in [0, 1]
    "imagenet": IMAGENET,
    "unit": {"mean": [0.0] * 3, "std": [1.0] * 3},
    "vggface2": {"mean": [131.0912 / 255, 103.8827 / 255, 91.4953 / 255], "std": [1 / 255] * 3},
}
FLAT = 0.05  # added to an image's own deviation, so that a dark one's noise is not blown up
MARGIN = 256 / 224  # an image is made larger than the network's input by this before a window is cut from it
LUMA = (0.299, 0.587, 0.114)
TRIES = 10  # at a rectangle that fits into the image
N_UNIFORMS = 19 + 2 * TRIES  # per face: the geometry takes 6, colours 10, erasing the others


def precrop_size(size: int) -> int:
    """Return the side of the faces that an augmentation cuts windows of `size` from."""
    return round(size * MARGIN)


def resize_face(picture: Image, size: int) -> Image:
    """Resize a face (s, s, 3) to a side, antialiased when it shrinks."""
    if picture.shape[0] == size:
        return picture
    interpolation = cv2.INTER_AREA if size < picture.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=interpolation), np.uint8)


def to_unit_range(faces: Tensor) -> Tensor:
    """Turn faces (b, s, s, 3) of uint8 into images (b, 3, s, s) in [0, 1], channels last in memory."""
    return faces.permute(0, 3, 1, 2).float() / 255


def standardise(images: Tensor, kind: str = "imagenet") -> Tensor:
    """Turn images (b, 3, s, s) in [0, 1] into the network's input, channels last in memory.

    "imagenet" takes off ImageNet's mean and deviation of each channel. "image" takes off the image's own mean of each
    channel and divides by its deviation plus 0.05, which makes small networks trained from scratch less sensitive to
    light and skin tone. "unit" leaves the values as they are, and "vggface2" gives 0 to 255 minus that dataset's mean,
    as the published code does for weights of these origins.
    """
    count, channels, height, width = images.shape
    lines = images.permute(0, 2, 3, 1).reshape(count, height, width * channels)  # no copy of channels last
    if kind == "image":
        mean = torch.unflatten(lines.mean(1), 1, (width, channels)).mean(1)
        deviation = lines.flatten(1).std(1, correction=0, keepdim=True) + FLAT
    else:
        mean, deviation = (images.new_tensor([NORMALISATIONS[kind][name]]) for name in ("mean", "std"))
    offset, factor = (
        (part.expand(-1, channels)).repeat(1, width)[:, None] for part in (-mean / deviation, 1 / deviation)
    )
    # Whole lines: numbers that are spread over three channels keep a CPU from vectorising.
    scaled = torch.addcmul(offset, lines, factor)
    return torch.unflatten(scaled, 2, (width, channels)).permute(0, 3, 1, 2)


def evaluation_input(face: Image, size: int, kind: str = "imagenet") -> Tensor:
    """Resize a whole face and normalise it: the input (3, size, size) at test time."""
    return standardise(to_unit_range(torch.from_numpy(resize_face(face, size))[None]), kind)[0]


def augment_paper(faces: Tensor, maps: Tensor | None, uniforms: Floats, size: int, generator: torch.Generator) -> Pair:
    """Cut a random window of `size` from faces of side size * 256 / 224 (Section 4.1); mirror one in two (the code)."""
    room = faces.shape[1] - size
    top, left = (np.floor(uniforms[:, column] * (room + 1)).astype(np.int64) for column in (0, 1))
    mirrored = uniforms[:, 2] < 0.5
    images = to_unit_range(_windows(faces, top, left, mirrored, size))
    if maps is None:
        return images, None
    side = faces.shape[1]
    if maps.shape[1] != side:
        maps = F.interpolate(maps[:, None], (side, side), mode="bilinear", antialias=side < maps.shape[1])[:, 0]
    return images, _windows(maps, top, left, mirrored, size)


def _windows(pictures: Tensor, top: Places, left: Places, mirrored: NDArray[np.bool_], size: int) -> Tensor:
    """Cut a window from each picture (b, s, s, ...), mirrored or not."""
    # A CPU copies lines thirty times as fast as it picks pixels; for a GPU each picture would be work of its own.
    cut = _by_lines if pictures.device.type == "cpu" else _by_pixels
    return cut(pictures, np.stack([top, left], 1), mirrored, size)


def _by_lines(pictures: Tensor, corners: Places, mirrored: NDArray[np.bool_], size: int) -> Tensor:
    windows = pictures.new_empty((len(pictures), size, size, *pictures.shape[3:]))
    for number, (top, left) in enumerate(corners.tolist()):
        window = pictures[number, top : top + size, left : left + size]
        windows[number] = window.flip(1) if mirrored[number] else window
    return windows


def _by_pixels(pictures: Tensor, corners: Places, mirrored: NDArray[np.bool_], size: int) -> Tensor:
    places = np.arange(size)
    rows, columns = corners[:, :1] + places, corners[:, 1:] + np.where(mirrored[:, None], places[::-1], places)
    down, right = (torch.from_numpy(place).to(pictures.device, non_blocking=True) for place in (rows, columns))
    of_face = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    return pictures[of_face, down[:, :, None], right[:, None, :]]


def augment_published(
    faces: Tensor, maps: Tensor | None, uniforms: Floats, size: int, generator: torch.Generator
) -> Pair:
    """Augment as the published code does; maps are sampled at the nearest neighbour.

    Turn by up to 6 degrees (every second face), cut a square of 80 to 100 % of the area and resize it, mirror, grey
    (one in five), change colours (four in five), erase a rectangle (every second face). Turn, window and mirror are one
    bicubic sampling here, where the published code samples twice.
    """
    geometry, colours, rectangles = np.split(uniforms, (6, 16), axis=1)
    share = np.sqrt(0.8 + 0.2 * geometry[:, 2])
    angle = np.where(geometry[:, 0] < 0.5, np.radians(12 * geometry[:, 1] - 6), 0.0)
    moved = _affine(share, geometry[:, 5] < 0.5, (1 - share)[:, None] * geometry[:, 3:5], angle)
    images = _sample(to_unit_range(faces), moved, size, "bicubic").clamp(0, 1)
    images = _erase(_colours(images, colours), rectangles, generator)
    return images, None if maps is None else _sample(maps[:, None].float(), moved, size, "nearest")[:, 0]


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor | None, Floats, int, torch.Generator], Pair]] = {
    "paper": augment_paper,
    "published": augment_published,
}


def _affine(share: Numbers, mirrored: NDArray[np.bool_], offset: Numbers, angle: Numbers) -> Floats:
    """Lead from windows to their faces, both from -1 to 1, as (b, 2, 3): scale, then shift, then turn.

    `share` (b,) is the window's side and `offset` (b, 2) its left and top edge, in sides of the face.
    """
    across = np.where(mirrored, -share, share)
    right, below = (2 * offset + share[:, None] - 1).T
    cosine, sine = np.cos(angle), np.sin(angle)
    rows = [
        [cosine * across, -sine * share, cosine * right - sine * below],
        [sine * across, cosine * share, sine * right + cosine * below],
    ]
    return np.moveaxis(np.array(rows, np.float32), 2, 0)


def _sample(pictures: Tensor, moved: Floats, size: int, mode: str) -> Tensor:
    """Read pictures (b, c, s, s) through a geometry; what lies outside is 0."""
    matrices = torch.from_numpy(moved).to(pictures.device, non_blocking=True)
    grid = F.affine_grid(matrices, [len(pictures), 1, size, size], align_corners=False)
    return F.grid_sample(pictures, grid, mode=mode, align_corners=False)


def _colours(images: Tensor, uniforms: Floats) -> Tensor:
    """Grey with 0.2, then with 0.8 brightness, contrast, saturation (factor 0.6 to 1.4), hue (0.1 of the circle).

    Changes the images in place.
    """
    grey = _index(uniforms[:, 0] < 0.2, images)
    images.index_copy_(0, grey, _luma(images[grey]).expand(-1, 3, -1, -1))
    changed = uniforms[:, 1] < 0.8
    amounts = torch.from_numpy(0.6 + 0.8 * uniforms[:, 2:6]).to(images.device, non_blocking=True)[..., None, None, None]
    changes: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (torch.mul, _contrast, _saturation, _hue)
    for turn in uniforms[:, 6:10].argsort(1).T:
        for number, change in enumerate(changes):
            chosen = _index(changed & (turn == number), images)
            if len(chosen):
                images.index_copy_(0, chosen, change(images[chosen], amounts[chosen, number]).clamp(0, 1))
    return images


def _index(chosen: NDArray[np.bool_], like: Tensor) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen)).to(like.device, non_blocking=True)


def _luma(images: Tensor) -> Tensor:
    red, green, blue = images.chunk(3, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = _luma(images).mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * factor


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    luma = _luma(images)
    return luma + (images - luma) * factor


def _hue(images: Tensor, amount: Tensor) -> Tensor:
    """Turn the colour circle by (amount - 1) / 4 of it, 0.6 to 1.4 giving a tenth each way.

    With v the largest and c the largest minus the smallest channel, hue h in sixths of the circle gives the channels
    v - c * clamp(min(k, 4 - k), 0, 1) for k = (n + h) mod 6, n = 5, 3, 1 (Smith, Color gamut transform pairs, 1978).
    """
    red, green, blue = images.chunk(3, 1)
    value = images.amax(1, keepdim=True)
    span = value - images.amin(1, keepdim=True)
    part = torch.where(span > 0, span, 1.0)
    others = torch.where(value == green, 2 + (blue - red) / part, 4 + (red - green) / part)
    hue = torch.where(value == red, (green - blue) / part, others) + 6 * (amount - 1) / 4
    sector = (images.new_tensor([5.0, 3.0, 1.0])[:, None, None] + hue) % 6
    return value - span * torch.minimum(sector, 4 - sector).clamp(0, 1)


def _erase(images: Tensor, uniforms: Floats, generator: torch.Generator) -> Tensor:
    """With 0.5, put normal noise on a rectangle of 2 to 33 % of the area and a ratio of 0.3 to 3.3."""
    size = images.shape[-1]
    area = size * size * (0.02 + 0.31 * uniforms[:, 3 : 3 + TRIES])
    ratio = np.exp(np.log(0.3) + np.log(3.3 / 0.3) * uniforms[:, 3 + TRIES : 3 + 2 * TRIES])
    heights, widths = np.rint(np.sqrt(area * ratio)).astype(int), np.rint(np.sqrt(area / ratio)).astype(int)
    fits = (heights < size) & (widths < size)
    for face in np.flatnonzero((uniforms[:, 0] < 0.5) & fits.any(1)):
        height, width = heights[face, fits[face].argmax()], widths[face, fits[face].argmax()]
        top, left = (uniforms[face, 1:3] * (size + 1 - np.array([height, width]))).astype(int)
        images[face, :, top : top + height, left : left + width].normal_(generator=generator)
    return images
