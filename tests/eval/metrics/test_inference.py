import numpy as np
import pytest
from scipy import stats

from eval.metrics.inference import Interval, holm, mean, mean_interval, paired_differences, paired_permutations


def paired_difference(before: np.ndarray, after: np.ndarray, **options) -> Interval:
    return paired_differences(before[None], after[None], **options)[0]


def paired_permutation(before: np.ndarray, after: np.ndarray, **options) -> float:
    return paired_permutations(before[None], after[None], **options)[0]


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
    monkeypatch.setattr("eval.metrics.inference.DRAWS_AT_ONCE", 400)
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


def test_permutation_test_by_hand() -> None:
    # Differences 1, 2, 3: the 8 sums are +-6, +-4, +-2, 0, 0; |6| is reached by 2 of 8, |4| would be by 4.
    before, after = np.zeros(3), np.array([1.0, 2.0, 3.0])
    assert paired_permutation(before, after) == pytest.approx(2 / 8, abs=0.015)
    assert paired_permutation(before, np.array([-1.0, 2.0, 3.0])) == pytest.approx(4 / 8, abs=0.015)
    assert paired_permutation(before, before) == 1


def test_permutation_test_weighs_classes_as_the_macro_mean_does() -> None:
    # Class 0 has differences 1, 1 and weights 1/4 each, class 1 has -0.2 and 1/2: T = 0.4. Signs give +-0.6 (1 in 4),
    # +-0.4 (1 in 4) and +-0.1 (the rest).
    after, groups = np.array([1.0, 1.0, -0.2]), np.array([0, 0, 1])
    assert paired_permutation(np.zeros(3), after, groups=groups) == pytest.approx(1 / 2, abs=0.015)
    # Without classes T = 0.6, and 2.2/3 (1 in 4), 1.8/3 (1 in 4), 0.2/3.
    assert paired_permutation(np.zeros(3), after) == pytest.approx(1 / 2, abs=0.015)
    # Weighing matters here: T = 0.5 - 0.5 * 0.9 = 0.05 is the smallest of +-0.95, +-0.45 and +-0.05.
    after = np.array([1.0, 1.0, -0.9])
    assert paired_permutation(np.zeros(3), after, groups=groups) == 1


def test_permutation_test_agrees_with_scipy() -> None:
    generator = np.random.default_rng(5)
    for count, shift in ((10, 0.3), (200, 0.1), (200, 0.0)):
        before = generator.normal(size=count)
        after = before + generator.normal(shift, 1, count)
        theirs = stats.permutation_test(
            (after, before),
            lambda x, y, axis: (x - y).mean(axis),
            permutation_type="samples",
            n_resamples=20_000,
            rng=1,
        )
        assert paired_permutation(before, after) == pytest.approx(theirs.pvalue, abs=0.015)


def test_permutation_test_is_right_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    found = [
        paired_permutation(np.zeros(40), generator.exponential(size=40) - 1, permutations=200, seed=seed)
        for seed in range(400)
    ]
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09
    assert 0.4 <= np.mean(np.array(found) <= 0.5) <= 0.6


def test_permutation_test_is_seeded_and_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    after = np.random.default_rng(0).normal(0.2, 1, 60)
    once = paired_permutation(np.zeros(60), after, seed=3)
    assert once == paired_permutation(np.zeros(60), after, seed=3)
    monkeypatch.setattr("eval.metrics.inference.DRAWS_AT_ONCE", 6_000)
    assert once == paired_permutation(np.zeros(60), after, seed=3)
    assert paired_permutation(np.zeros(60), np.ones(60)) == 1 / 10_001


@pytest.mark.parametrize("after", [np.array([]), np.array([np.nan])])
def test_permutation_test_refuses_nothing_and_nan(after: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        paired_permutation(np.zeros(len(after)), after)
    with pytest.raises(ValueError, match="same images"):
        paired_permutation(np.zeros(2), np.zeros(3))


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 are 0.04, 0.06, 0.06, 0.04; no later one may be smaller.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="p-values"):
        holm([0.1, np.nan])


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    generator = np.random.default_rng(9)
    for _ in range(50):
        values, level = generator.random(7) ** 3, generator.uniform(0.01, 0.3)
        rejected = np.zeros(7, bool)
        for step, place in enumerate(np.argsort(values)):  # stop at the first that is too large for its step
            if values[place] > level / (7 - step):
                break
            rejected[place] = True
        assert (holm(values) <= level).tolist() == rejected.tolist()


def test_many_comparisons_at_once_are_those_one_by_one() -> None:
    generator = np.random.default_rng(5)
    before, after = generator.normal(size=(2, 4, 90))
    after[3] = before[3] + 2
    for groups in (None, generator.integers(0, 6, 90)):
        together = paired_differences(before, after, groups=groups)
        p_values = paired_permutations(before, after, groups=groups)
        for one, p, first, second in zip(together, p_values, before, after, strict=True):
            alone = paired_difference(first, second, groups=groups)
            assert (one.value, one.low, one.high) == pytest.approx((alone.value, alone.low, alone.high))
            assert p == pytest.approx(paired_permutation(first, second, groups=groups), abs=2e-4)
    with pytest.raises(ValueError, match="same images"):
        paired_differences(before, after[:3])
