"""The AU alignment term (paper, Eq. 1 to 3) and the functions that it shares with the metrics."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def attention(features: Tensor) -> Tensor:
    """Average features (b, c, h, w) over channels to a float32 attention map (b, h, w) (paper, Eq. 1)."""
    return features.mean(1, dtype=torch.float32)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine (b,) between two batches of maps (b, ...) as float32; a map of zeros has cosine 0."""
    return F.cosine_similarity(a.flatten(1).float(), b.flatten(1).float(), dim=1, eps=1e-8)


def resize(maps: Tensor, size: int | tuple[int, int], mode: str = "half_pixel") -> Tensor:
    """Resize maps (b, h, w) to a side or (height, width), bilinear and antialiased when shrinking.

    "half_pixel" keeps the image's square in place. "published" repeats the published code's align_corners=True
    with antialias=True: it shifts content by up to 7 px towards the corner at 224 -> 28, and never leaves a map's own
    range. Raises ValueError on another mode.
    """
    stacked = maps.float()[:, None]
    shape = (size, size) if isinstance(size, int) else tuple(size)
    if mode == "half_pixel":
        return F.interpolate(stacked, shape, mode="bilinear", antialias=True)[:, 0]
    if mode != "published":
        raise ValueError(f"unknown way to resize maps {mode!r}: half_pixel or published")
    resized = F.interpolate(stacked, shape, mode="bilinear", antialias=True, align_corners=True)
    lowest, highest = stacked.amin((2, 3), keepdim=True), stacked.amax((2, 3), keepdim=True)
    return torch.minimum(torch.maximum(resized, lowest), highest)[:, 0]


def au_loss(
    features: Tensor | Mapping[int, Tensor],
    heatmaps: Tensor,
    valid: Tensor,
    *,
    layers: Sequence[int] | None = None,
    reduction: str = "sum",
    resize_mode: str = "half_pixel",
) -> Tensor:
    """Return 1 - cos(attention, heatmap) (paper, Eq. 2 and 3), averaged over the valid faces of a batch; a scalar.

    `features` (b, c, h, w) belong to one layer; a mapping holds several by number, of which `layers` selects some
    (all by default). `heatmaps` (b, height, width) are resized to each layer's size; the boolean `valid` (b,) says
    which faces have one. The terms of several layers are added ("sum", as the paper says after Eq. 3) or averaged
    ("mean", as the published code does). A batch without valid faces gives 0 and zero gradients. Raises ValueError on
    shapes that do not fit, an unknown layer, no layer at all and an unknown reduction.
    """
    by_layer = features if isinstance(features, Mapping) else {0: features}
    chosen = _chosen(by_layer, layers)
    _check_shapes(by_layer, chosen, heatmaps, valid)
    if reduction not in ("sum", "mean"):
        raise ValueError(f"unknown reduction {reduction!r}: sum or mean")
    with torch.autocast(heatmaps.device.type, enabled=False):
        masked = heatmaps.masked_fill(~valid[:, None, None], 0.0)
        terms = [_layer_term(by_layer[layer], masked, valid, resize_mode) for layer in chosen]
        total = torch.stack(terms).sum()
    return total / len(terms) if reduction == "mean" else total


def _chosen(features: Mapping[int, Tensor], layers: Sequence[int] | None) -> Sequence[int]:
    chosen = list(features) if layers is None else layers
    absent = [layer for layer in chosen if layer not in features]
    if absent:
        raise ValueError(f"there is no layer {absent[0]}; the features are of {', '.join(map(str, features))}")
    if not chosen:
        raise ValueError("there is no layer to align; give the features of at least one")
    return chosen


def _check_shapes(features: Mapping[int, Tensor], layers: Sequence[int], heatmaps: Tensor, valid: Tensor) -> None:
    if heatmaps.ndim != 3:
        raise ValueError(f"heatmaps (b, height, width) are needed, not {tuple(heatmaps.shape)}")
    if valid.dtype != torch.bool or valid.shape != heatmaps.shape[:1]:
        raise ValueError(f"valid must be bool ({len(heatmaps)},), not {valid.dtype} {tuple(valid.shape)}")
    for layer in layers:
        shape = tuple(features[layer].shape)
        if len(shape) != 4 or shape[0] != len(heatmaps):
            raise ValueError(f"features ({len(heatmaps)}, c, h, w) are needed beside {len(heatmaps)} maps, not {shape}")


def _layer_term(features: Tensor, heatmaps: Tensor, valid: Tensor, mode: str) -> Tensor:
    """Mask the faces instead of indexing them: a boolean index would make a GPU wait for the CPU to learn the size.

    The attention is masked before the cosine, because NaN times zero is NaN in its gradient too.
    """
    maps = attention(features).masked_fill(~valid[:, None, None], 0.0)
    height, width = features.shape[-2:]
    distance = 1 - cosine(maps, resize(heatmaps, (height, width), mode))
    return (distance * valid).sum() / valid.sum().clamp(min=1)
