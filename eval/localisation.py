"""How well a map finds the action units, beyond its cosine: relevance, hits, overlap, ranking and saliency measures.

All take maps and AU heatmaps on one canvas, (b, s, s), and return one float64 number per image (b,). Maps have no
negative values, as `eval.metrics` brings CAM and attention to the canvas. Most measures look for a region, the pixels
where the AU heatmap is at least 0.5 (`region`). Rank accuracy, pointing game, IoU, F1 and AUC look at the order of a
map's values only.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVEL = 0.5  # of the AU heatmap, from which on a pixel belongs to the region
NOISE = 1e-5  # a map that varies by a smaller part of its peak is constant but for rounding in its resizing

Numbers = NDArray[np.float64]


def localisation(maps: Tensor, heatmaps: Tensor) -> dict[str, Numbers]:
    """Measure maps against AU heatmaps in every way of this module; see the functions of these names."""
    inside = region(heatmaps)
    maps = _without_noise(maps)
    ordered = _sorted(maps)
    return {
        "pearson": pearson(maps, heatmaps),
        "relevance_mass": relevance_mass(maps, inside),
        "relevance_rank": relevance_rank(maps, inside, ordered),
        "pointing_game": pointing_game(maps, inside),
        "iou": iou(maps, inside, ordered),
        "f1": f1(maps, inside, ordered),
        "auc_judd": auc_judd(maps, inside, ordered),
        "nss": nss(maps, inside),
    }


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


def pearson(maps: Tensor, heatmaps: Tensor) -> Numbers:
    """Correlate map M and AU heatmap A over the pixels: cov(M, A) / (sd M sd A).

    In [-1, 1], higher is better; 0 for a map that says nothing, constant ones included. A cosine after the means are
    taken off, so that a uniform floor under a map does not count for it. Source: Bylinskii et al., What do different
    evaluation metrics tell us about saliency models?, TPAMI 2019 (CC).
    """
    left, right = _deviations(maps), _deviations(heatmaps)
    norms = left.square().sum(1).sqrt() * right.square().sum(1).sqrt()
    return _ratio((left * right).sum(1), norms)


def relevance_mass(maps: Tensor, inside: Tensor) -> Numbers:
    """Return the share of a map's sum that lies in the region: sum_{p in R} M_p / sum_p M_p.

    In [0, 1], higher is better; a uniform map scores the region's share of the image, a map of zeros 0. Source: Arras
    et al., CLEVR-XAI, Information Fusion 2022 (relevance mass accuracy).
    """
    values = maps.flatten(1).double()
    return _ratio((values * inside.flatten(1)).sum(1), values.sum(1))


def relevance_rank(maps: Tensor, inside: Tensor, ordered: Tensor | None = None) -> Numbers:
    """Return the share of the region that the map's K largest pixels cover, where K is the region's size: |T & R| / K.

    In [0, 1], higher is better. Of the pixels that tie for the last places each counts as much as chance would let it
    in, so a constant map scores K / s^2. Source: Arras et al., CLEVR-XAI, Information Fusion 2022 (relevance rank
    accuracy). `ordered` are the map's values in ascending order (b, s^2), if they are known.
    """
    values, inside = _flat(maps), inside.flatten(1)
    ordered = _sorted(maps) if ordered is None else ordered
    size = inside.sum(1)
    last = ordered.gather(1, (ordered.shape[1] - size)[:, None])  # the K-th largest value
    above, level = values > last, values == last
    share = (size - above.sum(1)) / level.sum(1)  # of the ties that are let in
    hits = (above & inside).sum(1) + share.double() * (level & inside).sum(1)
    return _ratio(hits, size)


def iou(maps: Tensor, inside: Tensor, ordered: Tensor | None = None) -> Numbers:
    """Return the overlap of the region R and the map's largest pixels T, as many as R has: |T & R| / |T | R|.

    In [0, 1], higher is better. The map chooses no threshold and gains nothing by covering more or less. With
    |T| = |R| = K and r the relevance rank accuracy it is r / (2 - r). Source: Jaccard, 1912; area: ours.
    """
    covered = relevance_rank(maps, inside, ordered)
    return covered / (2 - covered)


def f1(maps: Tensor, inside: Tensor, ordered: Tensor | None = None) -> Numbers:
    """Return F1 of the map's largest pixels T, as many as the region R has: 2 |T & R| / (|T| + |R|).

    In [0, 1], higher is better. With |T| = |R| precision, recall, F1 and the relevance rank accuracy are one number,
    given under both names for readers who look for either. Source: Dice, 1945; area: ours.
    """
    return relevance_rank(maps, inside, ordered)


def pointing_game(maps: Tensor, inside: Tensor) -> Numbers:
    """Return 1 if the map's largest value lies in the region, else 0; with several largest ones, their share in it.

    In [0, 1], higher is better; a uniform map scores the region's share of the image. Source: Zhang et al., Top-down
    neural attention by excitation backprop, ECCV 2016 and IJCV 2018; without their tolerance of 15 pixels, as a region
    is no tight box.
    """
    values = _flat(maps)
    largest = values == values.amax(1, keepdim=True)
    return _ratio((largest & inside.flatten(1)).sum(1), largest.sum(1))


def auc_judd(maps: Tensor, inside: Tensor, ordered: Tensor | None = None) -> Numbers:
    """Return how often a pixel of the region has a larger value than one outside, ties counting half.

    The area under the curve of the share of the region above a threshold against the share of all else above it, the
    thresholds being the map's values in the region. In [0, 1], higher is better, 0.5 is chance and every constant map.
    Sources: Judd et al., Learning to predict where humans look, ICCV 2009; Bylinskii et al., TPAMI 2019. They take
    fixated pixels for the region, and break ties by chance.
    """
    values, inside = _flat(maps), inside.flatten(1)
    ordered = _sorted(maps) if ordered is None else ordered
    size = inside.sum(1)
    found = _sorted(torch.where(inside, values, torch.inf))[:, : int(size.max())].contiguous()
    low, high = torch.searchsorted(ordered, found), torch.searchsorted(ordered, found, right=True)
    ranks = (low + high + 1).double() / 2  # mid-ranks, counted from 1
    total = ranks.masked_fill(found.isinf(), 0).sum(1)
    return _ratio(total - size * (size + 1) / 2, size * (values.shape[1] - size))


def nss(maps: Tensor, inside: Tensor) -> Numbers:
    """Return the mean of the standardised map over the region: (1/K) sum_{p in R} (M_p - mean M) / sd M.

    Unbounded, higher is better; 0 is chance and every constant map, 1 means one standard deviation above the map's
    mean. sd is over all pixels of the map. Source: Peters et al., Components of bottom-up gaze allocation in natural
    images, Vision Research 2005 (normalised scanpath saliency); they average over fixated pixels.
    """
    deviations = _deviations(maps)
    inside = inside.flatten(1)
    mean = (deviations * inside).sum(1) / inside.sum(1)
    return _ratio(mean, deviations.square().mean(1).sqrt())


def _flat(maps: Tensor) -> Tensor:
    return maps.flatten(1).float()


def _without_noise(maps: Tensor) -> Tensor:
    """Make a map constant whose values differ by rounding only, such as that of one cell resized to the canvas."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high - low <= NOISE * high.abs(), high, maps)


def _sorted(maps: Tensor) -> Tensor:
    """Sort each map's values in ascending order (b, s^2); numpy does it ten times as fast as torch."""
    return torch.from_numpy(np.sort(_flat(maps).numpy(), axis=1))


def _deviations(maps: Tensor) -> Tensor:
    values = maps.flatten(1).double()
    constant = values.amin(1) == values.amax(1)
    return (values - values.mean(1, keepdim=True)).masked_fill(constant[:, None], 0)


def _ratio(part: Tensor, whole: Tensor) -> Numbers:
    """Divide, and give 0 where there is nothing to divide by."""
    return torch.where(whole > 0, part.double() / whole.double(), 0).numpy()
