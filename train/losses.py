"""The AU alignment term (paper, Eq. 1 and 2) and the functions it shares with the metrics of `eval`."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from train.method import Batch


def attention(features: Tensor) -> Tensor:
    """Average features (b, c, h, w) over channels to a float32 attention map (b, h, w) (paper, Eq. 1)."""
    return features.mean(1, dtype=torch.float32)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine (b,) between two batches of maps (b, ...) as float32; a map of zeros has cosine 0."""
    return F.cosine_similarity(a.flatten(1).float(), b.flatten(1).float(), dim=1, eps=1e-8)


def resize(maps: Tensor, size: int, mode: str = "half_pixel") -> Tensor:
    """Resize maps (b, h, w) to (b, size, size), bilinear and antialiased when shrinking.

    "half_pixel" keeps the image's square in place. "published" is what the published code calls align_corners=True
    with antialias=True: it shifts content by up to 7 px towards the corner at 224 -> 28, and never leaves a map's own
    range (spec section 3).
    """
    stacked = maps.float()[:, None]
    if mode == "half_pixel":
        return F.interpolate(stacked, (size, size), mode="bilinear", antialias=True)[:, 0]
    if mode != "published":
        raise ValueError(f"unknown way to resize maps {mode!r}: half_pixel or published")
    resized = F.interpolate(stacked, (size, size), mode="bilinear", antialias=True, align_corners=True)
    lowest, highest = stacked.amin((2, 3), keepdim=True), stacked.amax((2, 3), keepdim=True)
    return torch.minimum(torch.maximum(resized, lowest), highest)[:, 0]


def au_loss(
    features: Mapping[int, Tensor],
    batch: Batch,
    layers: Sequence[int],
    *,
    reduction: str = "sum",
    resize: str = "half_pixel",
) -> Tensor:
    """Return 1 - cos(attention, heatmap) (paper, Eq. 2), averaged over the valid faces of a batch; a scalar.

    The heatmaps are resized to each layer's size. The terms of several `layers` are added ("sum", as the paper
    writes) or averaged ("mean", as the published code does). A batch without valid faces gives 0 and zero gradients.
    Raises ValueError on a layer that is not there and on another reduction.
    """
    absent = [layer for layer in layers if layer not in features]
    if absent:
        raise ValueError(f"there is no layer {absent[0]}; the features are of {', '.join(map(str, features))}")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"unknown reduction {reduction!r}: sum or mean")
    with torch.autocast(batch.heatmaps.device.type, enabled=False):
        heatmaps = batch.heatmaps.masked_fill(~batch.valid[:, None, None], 0.0)
        terms = [_layer_term(features[layer], heatmaps, batch.valid, resize) for layer in layers]
        total = torch.stack(terms).sum()
    return total / len(terms) if reduction == "mean" else total


def _layer_term(features: Tensor, heatmaps: Tensor, valid: Tensor, mode: str) -> Tensor:
    """Masked, not indexed: a boolean index would make a GPU wait for the CPU to learn the size.

    The attention is masked before the cosine, because NaN times zero is NaN in its gradient too.
    """
    maps = attention(features).masked_fill(~valid[:, None, None], 0.0)
    distance = 1 - cosine(maps, resize(heatmaps, features.shape[-1], mode))
    return (distance * valid).sum() / valid.sum().clamp(min=1)
