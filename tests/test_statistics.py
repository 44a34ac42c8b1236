import numpy as np
import pytest

from eval.statistics import mean, mean_interval, paired_difference


def test_mean_over_images_and_over_classes() -> None:
    values, groups = np.array([1.0, 3.0, 10.0]), np.array([0, 0, 4])
    assert mean(values) == pytest.approx(14 / 3)
    assert mean(values, groups) == pytest.approx((2 + 10) / 2)


def test_interval_of_two_images_is_the_binomial_one() -> None:
    # Resampled means of (0, 1) are 0, 1/2, 1 with probability 1/4, 1/2, 1/4, so their quantiles are known exactly.
    values = np.array([0.0, 1.0])
    wide, narrow = mean_interval(values), mean_interval(values, level=0.4)
    assert (wide.value, wide.low, wide.high, wide.images) == (0.5, 0.0, 1.0, 2)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(5, 2, 2_000)
    interval = mean_interval(values)
    margin = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - margin, abs=0.1 * margin)
    assert interval.high == pytest.approx(values.mean() + margin, abs=0.1 * margin)


def test_constant_change_has_no_width_however_hard_the_images_differ() -> None:
    before = np.random.default_rng(0).normal(0, 100, 50)
    change = paired_difference(before, before + 3)
    assert change.value == pytest.approx(3)
    assert change.low == pytest.approx(3)
    assert change.high == pytest.approx(3)


def test_sign_says_that_after_is_larger() -> None:
    assert paired_difference(np.array([0.2, 0.4]), np.array([0.5, 0.9])).value == pytest.approx(0.4)


def test_images_are_drawn_within_each_class() -> None:
    # Within a class nothing varies, so a resample cannot change the macro mean; over all images it can.
    values, groups = np.array([0.0, 0.0, 0.0, 1.0]), np.array([1, 1, 1, 2])
    macro, micro = mean_interval(values, groups=groups), mean_interval(values)
    assert (macro.value, macro.low, macro.high) == (0.5, 0.5, 0.5)
    assert micro.low < 0.25 < micro.high


def test_same_seed_same_interval_and_memory_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=40)
    once = mean_interval(values, seed=7)
    assert once == mean_interval(values, seed=7)
    assert once != mean_interval(values, seed=8)
    monkeypatch.setattr("eval.statistics.DRAWS_AT_ONCE", 400)
    assert mean_interval(values, seed=7) == once


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        before = generator.normal(size=60)
        after = before + 0.3 + generator.normal(0, 0.5, 60)
        interval = mean_interval(after - before, resamples=500)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.89 <= hits / 200 <= 0.99


@pytest.mark.parametrize("values", [np.array([]), np.array([0.1, np.nan]), np.array([np.inf])])
def test_nothing_or_nan_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        paired_difference(np.zeros(3), np.zeros(4))
