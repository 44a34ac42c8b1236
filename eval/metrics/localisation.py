"""How well a map finds the action units, beyond its cosine: relevance, hits, overlap, ranking and saliency measures.

One float64 number per image (b,), for maps and AU heatmaps on one canvas (b, s, s). Maps have no negative values, as
`eval.metrics` brings CAM and attention to the canvas. All measures but the Pearson correlation look for a region R, the
K pixels where the AU heatmap is at least 0.5; they need no more than a map's values in order, all and those in R
(`order`), and treat ties as chance would on average.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVEL = 0.5  # of the AU heatmap, from which on a pixel belongs to the region
NOISE = 1e-5  # a map that varies by a smaller part of its peak is constant but for rounding in its resizing

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ordered:
    """Values of b maps, ascending: all pixels (b, p); those of the region (b, k), then infinity; its size K (b, 1)."""

    values: Tensor
    inside: Tensor
    size: Tensor


def localisation(maps: Tensor, heatmaps: Tensor) -> dict[str, Numbers]:
    """Measure maps against AU heatmaps (b, s, s) in every way of this module; see the functions of these names."""
    maps = _without_noise(maps)
    ordered = order(maps, region(heatmaps))
    ranked = (relevance_mass, relevance_rank, pointing_game, iou, f1, auc_judd, nss)
    return {"pearson": pearson(maps, heatmaps)} | {measure.__name__: measure(ordered) for measure in ranked}


def region(heatmaps: Tensor) -> Tensor:
    """Return where the action units are: True where a heatmap (b, s, s) is at least 0.5 (ours).

    Raises ValueError on a region that is empty or everything, where nothing could be found: an AU heatmap reaches from
    0 to 1, so it has neither.
    """
    inside = heatmaps >= LEVEL
    size = inside.flatten(1).sum(1)
    if ((size == 0) | (size == inside[0].numel())).any():
        raise ValueError("a heatmap has no pixel, or only pixels, of at least 0.5: there is no region to find")
    return inside


def order(maps: Tensor, region: Tensor) -> Ordered:
    """Sort the values of maps (b, s, s), and those in a region (b, s, s) that is neither empty nor everything."""
    values, inside = maps.flatten(1).float(), region.flatten(1)
    size = inside.sum(1, keepdim=True)
    in_region = _sorted(torch.where(inside, values, torch.inf))[:, : int(size.max())].contiguous()
    return Ordered(_sorted(values), in_region, size)


def pearson(maps: Tensor, heatmaps: Tensor) -> Numbers:
    """Correlate map M and AU heatmap A over the pixels: cov(M, A) / (sd M sd A).

    In [-1, 1], higher is better; 0 for a map that says nothing, constant ones included. It is the cosine after the
    means are taken off, so a constant under a map does not count for it. Source: Bylinskii et al., What do
    different evaluation metrics tell us about saliency models?, TPAMI 2019 (CC).
    """
    left, right = _deviations(maps), _deviations(heatmaps)
    norms = torch.linalg.vector_norm(left, dim=1).double() * torch.linalg.vector_norm(right, dim=1).double()
    return _ratio((left * right).sum(1), norms)


def relevance_mass(ordered: Ordered) -> Numbers:
    """Return the share of a map's sum that lies in the region: sum_{p in R} M_p / sum_p M_p.

    In [0, 1], higher is better; a uniform map scores the region's share of the image, a map of zeros 0. Source: Arras
    et al., CLEVR-XAI, Information Fusion 2022 (relevance mass accuracy).
    """
    return _ratio(_inside_sum(ordered), ordered.values.sum(1))


def relevance_rank(ordered: Ordered) -> Numbers:
    """Return the share of the region that the map's K largest pixels T cover: |T & R| / K.

    In [0, 1], higher is better; a constant map scores the region's share of the image. Of the pixels that tie for the
    last places each counts as much as chance would let it in. Source: Arras et al., CLEVR-XAI, Information Fusion 2022
    (relevance rank accuracy).
    """
    last = ordered.values.gather(1, ordered.values.shape[1] - ordered.size)  # the K-th largest value
    above, level = _counts(ordered.values, last, ordered.values.shape[1])
    above_inside, level_inside = _counts(ordered.inside, last, ordered.size)
    let_in = (ordered.size - above).double() / level
    return _ratio((above_inside + let_in * level_inside)[:, 0], ordered.size[:, 0])


def iou(ordered: Ordered) -> Numbers:
    """Return the overlap of the region R and the map's largest pixels T, as many as R has: |T & R| / |T | R|.

    In [0, 1], higher is better. The map chooses no threshold and gains nothing by covering more or less. With
    |T| = |R| = K and r the relevance rank accuracy it is r / (2 - r). Source: Jaccard, 1912; the area is ours.
    """
    covered = relevance_rank(ordered)
    return covered / (2 - covered)


def f1(ordered: Ordered) -> Numbers:
    """Return F1 of the map's largest pixels T, as many as the region R has: 2 |T & R| / (|T| + |R|).

    In [0, 1], higher is better. With |T| = |R| precision, recall, F1 and the relevance rank accuracy are one number,
    given under both names for readers who look for either. Source: Dice, 1945; the area is ours.
    """
    return relevance_rank(ordered)


def pointing_game(ordered: Ordered) -> Numbers:
    """Return 1 if the map's largest value lies in the region, else 0; with several largest ones, their share in it.

    In [0, 1], higher is better; a uniform map scores the region's share of the image. Source: Zhang et al., Top-down
    neural attention by excitation backprop, ECCV 2016 and IJCV 2018; without their tolerance of 15 pixels, as a region
    is no tight box.
    """
    largest = ordered.values[:, -1:].contiguous()
    _, everywhere = _counts(ordered.values, largest, ordered.values.shape[1])
    _, inside = _counts(ordered.inside, largest, ordered.size)
    return _ratio(inside[:, 0], everywhere[:, 0])


def auc_judd(ordered: Ordered) -> Numbers:
    """Return how often a pixel of the region has a larger value than one outside, ties counting half.

    It is the area under the curve of the share of the region above a threshold against the share of all else above it,
    the thresholds being the map's values in the region. In [0, 1], higher is better; 0.5 is chance and any constant
    map. Sources: Judd et al., Learning to predict where humans look, ICCV 2009; Bylinskii et al., TPAMI 2019. They have
    fixated pixels for a region.
    """
    everything, inside, size = ordered.values, ordered.inside, ordered.size[:, 0].double()
    low, high = torch.searchsorted(everything, inside), torch.searchsorted(everything, inside, right=True)
    ranks = (low + high + 1).double() / 2  # of tied pixels the mean one, counted from 1
    total = ranks.masked_fill(inside.isinf(), 0).sum(1)
    return _ratio(total - size * (size + 1) / 2, size * (everything.shape[1] - size))


def nss(ordered: Ordered) -> Numbers:
    """Return the mean of the standardised map over the region: (1/K) sum_{p in R} (M_p - mean M) / sd M.

    Unbounded, higher is better; 0 is chance and any constant map, 1 is one standard deviation above the map's mean. sd
    is over all pixels. Source: Peters et al., Components of bottom-up gaze allocation in natural images, Vision
    Research 2005 (normalised scanpath saliency); they average over fixated pixels.
    """
    spread = _deviations(ordered.values).square().mean(1).sqrt()
    return _ratio(_inside_sum(ordered) / ordered.size[:, 0] - ordered.values.mean(1), spread)


def _without_noise(maps: Tensor) -> Tensor:
    """Make a map constant whose values differ by rounding only, such as that of one cell resized to the canvas."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high - low <= NOISE * high.abs(), high, maps)


def _sorted(values: Tensor) -> Tensor:
    return torch.from_numpy(np.sort(values.numpy(), axis=1))  # ten times as fast as torch.sort


def _counts(ordered: Tensor, level: Tensor, size: Tensor | int) -> tuple[Tensor, Tensor]:
    """Count how many of the first `size` values lie above a level (b, 1), and how many equal it."""
    up_to = torch.searchsorted(ordered, level, right=True)
    return size - up_to, up_to - torch.searchsorted(ordered, level)


def _inside_sum(ordered: Ordered) -> Tensor:
    return ordered.inside.masked_fill(ordered.inside.isinf(), 0).sum(1)


def _deviations(maps: Tensor) -> Tensor:
    values = maps.flatten(1).float()
    constant = values.amin(1) == values.amax(1)
    return (values - values.mean(1, keepdim=True)).masked_fill(constant[:, None], 0)


def _ratio(part: Tensor, whole: Tensor) -> Numbers:
    """Divide, and give 0 where there is nothing to divide by."""
    return torch.where(whole > 0, part.double() / whole.double(), 0).numpy()
