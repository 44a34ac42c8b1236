"""How sure a number is: percentile bootstrap over the test images, permutation test, correction for many tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS_AT_ONCE = 2_000_000  # resampled images held in memory at a time
ROUNDING = 1e-9  # of the sum of absolute values: two sums of the same numbers in another order are equal

Numbers = NDArray[np.floating]
Groups = NDArray[np.integer] | None


@dataclass(frozen=True)
class Interval:
    """An estimate, the bounds of its interval and the number of images behind it."""

    value: float
    low: float
    high: float
    images: int

    def columns(self, name: str) -> dict[str, float]:
        """Return the estimate under a name and the bounds under `<name>_low` and `<name>_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def mean(values: Numbers, groups: Groups = None) -> float:
    """Average one number per image (n,); with groups, class ids (n,): average within each class, then over classes."""
    return float(np.mean([part.mean() for part in _parts(values, groups)]))


def mean_interval(
    values: Numbers, *, groups: Groups = None, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Estimate the mean of one number per image, and its percentile bootstrap interval.

    The estimate is `mean(values, groups)`: (1/n) sum_i v_i, or macro over the groups. Images are drawn with replacement
    within each class, so that no class can vanish from a resample; without groups all images are one class. The bounds
    are the (1 - level) / 2 and (1 + level) / 2 quantiles of the resampled estimates. Source: Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13.
    """
    return _intervals(values[None], groups, resamples=resamples, level=level, seed=seed)[0]


def paired_differences(before: Numbers, after: Numbers, *, groups: Groups = None) -> list[Interval]:
    """Estimate how much each mean changes, from two numbers per image of k comparisons (k, n) of the same images.

    Each resample draws images, the same for all comparisons, and keeps both numbers of an image together, so what makes
    an image hard for both networks cancels out. Above 0 means that `after` is larger. See `mean_interval`.
    """
    return _intervals(_paired(before, after), groups)


def _intervals(
    values: Numbers, groups: Groups, *, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    if not values.size or not np.isfinite(values).all():
        raise ValueError("a bootstrap needs at least one value and finite values only")
    generator = np.random.default_rng(seed)
    parts = list(zip(*(_parts(row, groups) for row in values), strict=True))  # of each class, its values in all rows
    means = np.mean([_resampled_means(np.stack(part), resamples, generator) for part in parts], axis=0)
    bounds = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return [
        Interval(value=mean(row, groups), low=float(low), high=float(high), images=len(row))
        for row, low, high in zip(values, *bounds, strict=True)
    ]


def paired_permutations(
    before: Numbers, after: Numbers, *, groups: Groups = None, permutations: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """Return the two-sided p-values (k,) of paired sign-flip permutation tests of k comparisons (k, n), as above.

    If the networks do not differ, it is chance which of an image's two numbers is called before and which after: every
    difference d_i = after_i - before_i could as well have the other sign; signs are the same for all comparisons. The
    statistic T is the mean of the differences, macro over the groups, as in `paired_differences`; p = (1 + #{|T*| >=
    |T|}) / (1 + permutations) over random signs. In (0, 1], small means that chance hardly does it; never below
    1 / (1 + permutations). It asks about these networks on other faces, not about other trainings. Sources: Fisher, The
    Design of Experiments, 1935; Phipson and Smyth, Permutation p-values should never be zero, 2010.
    """
    differences = _paired(before, after)
    if not differences.size or not np.isfinite(differences).all():
        raise ValueError("a permutation test needs at least one value and finite values only")
    shares = differences * _weights(differences.shape[1], groups)
    observed = abs(shares.sum(axis=1)) - ROUNDING * abs(shares).sum(axis=1)
    generator = np.random.default_rng(seed)
    reached = np.zeros(len(shares), np.int64)
    for size in _sizes(permutations, shares.shape[1]):
        flips = generator.integers(2, size=(size, shares.shape[1]), dtype=np.int8)
        statistics = abs(shares.sum(axis=1) - 2 * (flips @ shares.T))  # sum s_i x_i: all x less twice the flipped
        reached += (statistics >= observed).sum(axis=0)
    return (1 + reached) / (1 + permutations)


def _paired(before: Numbers, after: Numbers) -> NDArray[np.float64]:
    if before.shape != after.shape:
        raise ValueError(f"paired values must come from the same images, got {before.shape} and {after.shape}")
    return after.astype(np.float64) - before.astype(np.float64)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust the p-values (m,) of one table for their number, so that all of them hold together (Holm's step-down).

    With p_(1) <= ... <= p_(m): adjusted p_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)). Rejecting what stays below 0.05
    makes a single false claim in the table with probability below 0.05, whatever the tests have to do with each other.
    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    values = np.asarray(p_values, np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values lie in [0, 1]")
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(values[order] * np.arange(len(values), 0, -1), 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def _weights(count: int, groups: Groups) -> NDArray[np.float64]:
    """Weigh each image as `mean` does; the weights add up to 1."""
    if groups is None:
        return np.full(count, 1 / count)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1 / (len(sizes) * sizes[group])
    return weights


def _parts(values: Numbers, groups: Groups) -> list[NDArray[np.float64]]:
    numbers = values.astype(np.float64)
    return [numbers] if groups is None else [numbers[groups == group] for group in np.unique(groups)]


def _resampled_means(
    values: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the means (k, resamples) of values (k, n) over the same draws of n images with replacement."""
    count = values.shape[1]
    means = []
    for size in _sizes(resamples, count):
        drawn = generator.integers(count, size=(size, count))
        if len(values) == 1:
            means.append(values[0][drawn].mean(axis=1)[None])
            continue
        places = drawn + count * np.arange(size)[:, None]
        times = np.bincount(places.ravel(), minlength=size * count).reshape(size, count)  # how often each was drawn
        means.append(values @ times.T / count)
    return np.concatenate(means, axis=1)


def _sizes(draws: int, images: int) -> list[int]:
    """Part draws so that memory holds them."""
    rows = max(1, DRAWS_AT_ONCE // images)
    return [min(rows, draws - start) for start in range(0, draws, rows)]
