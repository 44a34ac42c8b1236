"""What is done to faces to see what a network needs of them: pixels in an order, a blurred copy, a region elsewhere.

Images are (b, 3, s, s) in [0, 1]; they are normalised after they are changed, as the network would see such a picture.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# Deviation of the Gaussian as a share of the side, 19 px at 224. Under RISE's 5 px a small network still gave two of
# three faces of RAF-DB the class that it gave them unblurred.
BLUR = 1 / 12


def blur(images: Tensor) -> Tensor:
    """Blur images (b, 3, s, s) with a Gaussian of BLUR * s px, cut off at four deviations, mirrored at the border."""
    size = images.shape[-1]
    deviation = BLUR * size
    reach = min(math.ceil(4 * deviation), size - 1)
    places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-((places / deviation) ** 2) / 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(images, (reach,) * 4, mode="reflect").flatten(0, 1)[:, None]
    rows = F.conv2d(padded, kernel[None, None, None])
    return F.conv2d(rows, kernel[None, None, :, None]).reshape(images.shape)


def relevance_order(maps: Tensor, ties: Tensor) -> Tensor:
    """Rank the pixels of maps (b, s, s): 0 for the most relevant one, s * s - 1 for the least.

    Equal values, as the zeros of a map behind a ReLU, are ranked by `ties` (b, s, s), random numbers; in reading order
    they would prefer the forehead. Raises ValueError on a value that is not finite.
    """
    if not torch.isfinite(maps).all():
        raise ValueError("a map with a value that is not finite has no order")
    shuffled = ties.flatten(1).argsort(dim=1)
    descending = maps.flatten(1).gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    sequence = shuffled.gather(1, descending)
    places = torch.arange(sequence.shape[1], device=maps.device).expand_as(sequence)
    return torch.empty_like(sequence).scatter_(1, sequence, places).view_as(maps)


def move(masks: Tensor, shifts: Tensor) -> Tensor:
    """Roll each mask (b, s, s) down and right by its shifts (b, 2) in pixels; what leaves on one side comes back."""
    pairs = zip(masks, shifts.tolist(), strict=True)
    return torch.stack([mask.roll((down, right), (0, 1)) for mask, (down, right) in pairs])
