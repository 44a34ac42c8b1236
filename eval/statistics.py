"""How sure a number is: percentile bootstrap over the test images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS_AT_ONCE = 2_000_000  # resampled images held in memory at a time


@dataclass(frozen=True)
class Interval:
    """An estimate, the bounds of its interval and the number of images behind it."""

    value: float
    low: float
    high: float
    images: int


def mean(values: NDArray[np.floating], groups: NDArray[np.integer] | None = None) -> float:
    """Average one number per image (n,); with groups, class ids (n,): average within each class, then over classes."""
    return float(np.mean([part.mean() for part in _parts(values, groups)]))


def mean_interval(
    values: NDArray[np.floating],
    *,
    groups: NDArray[np.integer] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Estimate the mean of one number per image, and its percentile bootstrap interval.

    The estimate is `mean(values, groups)`: (1/n) sum_i v_i, or macro over the groups. Images are drawn with replacement
    within each class, so that no class can vanish from a resample; without groups all images are one class. The bounds
    are the (1 - level) / 2 and (1 + level) / 2 quantiles of the resampled estimates. Source: Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not values.size or not np.isfinite(values).all():
        raise ValueError("a bootstrap needs at least one value and finite values only")
    generator = np.random.default_rng(seed)
    means = np.mean([_resampled_means(part, resamples, generator) for part in _parts(values, groups)], axis=0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=mean(values, groups), low=float(low), high=float(high), images=len(values))


def paired_difference(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    groups: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> Interval:
    """Estimate how much the mean changes from `before` to `after`, two numbers (n,) for each of the same images.

    Each resample draws images and keeps both numbers of an image together, so what makes an image hard for both
    networks cancels out. Above 0 means that `after` is larger.
    """
    if before.shape != after.shape:
        raise ValueError(f"paired values must come from the same images, got {before.shape} and {after.shape}")
    return mean_interval(after.astype(np.float64) - before.astype(np.float64), groups=groups, seed=seed)


def _parts(values: NDArray[np.floating], groups: NDArray[np.integer] | None) -> list[NDArray[np.float64]]:
    numbers = values.astype(np.float64)
    return [numbers] if groups is None else [numbers[groups == group] for group in np.unique(groups)]


def _resampled_means(
    values: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    rows = max(1, DRAWS_AT_ONCE // len(values))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    chunks = (generator.integers(len(values), size=(size, len(values))) for size in sizes)
    return np.concatenate([values[chunk].mean(axis=1) for chunk in chunks])
