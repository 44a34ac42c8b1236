import numpy as np
import pytest

from eval.metrics.groups import group_scores
from eval.metrics.inference import mean_interval

GENDER = np.array(["female", "male", "female", "", "male"], object)
RIGHT = np.array([True, True, False, True, True])
COSINE = np.array([0.2, 0.8, 0.4, np.nan, np.nan])
LOST = np.array([False, False, True, True, False])


def test_groups_by_hand() -> None:
    found = group_scores({"gender": GENDER}, RIGHT, {"cam_cosine": COSINE}, LOST)
    assert list(found) == ["gender"]
    assert list(found["gender"]) == ["female", "male", "unknown"]
    female, male, unknown = found["gender"].values()
    assert (female["images"], male["images"], unknown["images"]) == (2, 2, 1)
    assert (female["accuracy"], male["accuracy"], unknown["accuracy"]) == (0.5, 1, 1)
    assert female["cam_cosine"] == pytest.approx(0.3)
    assert male["cam_cosine"] == 0.8
    assert unknown["cam_cosine"] is unknown["cam_cosine_low"] is unknown["cam_cosine_high"] is None
    assert (female["without_landmarks"], male["without_landmarks"], unknown["without_landmarks"]) == (0.5, 0, 1)
    # Resampling (1, 0) gives 0, 1/2 or 1 with probability 1/4, 1/2, 1/4.
    assert (female["accuracy_low"], female["accuracy_high"]) == (0, 1)
    assert (male["accuracy_low"], male["accuracy_high"]) == (1, 1)
    assert (female["cam_cosine_low"], female["cam_cosine_high"]) == pytest.approx((0.2, 0.4))


def test_intervals_are_the_bootstrap_of_the_group_alone() -> None:
    generator = np.random.default_rng(0)
    words = np.array(["a", "b"], object)[generator.integers(2, size=300)]
    cosines = generator.random(300)
    found = group_scores({"x": words}, cosines > 0.5, {"cosine": cosines}, cosines < 0)["x"]
    interval = mean_interval(cosines[words == "b"], resamples=2_000)
    assert (found["b"]["cosine_low"], found["b"]["cosine_high"]) == (interval.low, interval.high)


def test_what_makes_no_groups_is_left_out() -> None:
    words = {
        "file": np.array([f"image {number}" for number in range(30)], object),
        "active_aus": np.array(["6;12"] * 30, object),
        "nothing": np.array([""] * 30, object),
        "age": np.array(["young", "old"] * 15, object),
    }
    flags = np.ones(30, bool)
    assert list(group_scores(words, flags, {}, flags)) == ["age"]
