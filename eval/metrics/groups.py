"""Whether a network serves all people alike: accuracy, cosines and landmark failures by gender, race, age, ..."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics.inference import mean_interval
from pipeline.types import ACTIVE_AUS

UNKNOWN = "unknown"
MOST = 20  # values of an attribute; one with more, such as a file's name, makes no groups
RESAMPLES = 2_000

Groups = dict[str, dict[str, dict[str, Any]]]


def group_scores(
    attributes: Mapping[str, NDArray[np.object_]],
    right: NDArray[np.bool_],
    cosines: Mapping[str, NDArray[np.floating]],
    without_landmarks: NDArray[np.bool_],
) -> Groups:
    """Score each value of each attribute (n,) by itself: {attribute: {value: numbers}}, values in alphabetical order.

    images; accuracy, the share of right answers over all seven classes; for each of `cosines` (n,), NaN where a face
    has none, `<name>`, their mean over the group's faces (micro: a group may lack an expression), None without faces;
    `_low` and `_high` of each, its 95 % percentile interval of the bootstrap over the group's faces (2,000 resamples);
    without_landmarks, the share of faces whose landmarks were not found. Groups differ in their expressions too, so a
    difference between them need not be about the attribute. "" is the group "unknown".
    """
    numbers = {"accuracy": right.astype(np.float64), **cosines}
    scores: Groups = {}
    for attribute, words in attributes.items():
        values = np.array([word or UNKNOWN for word in words], object)
        names = sorted(set(values))
        if attribute == ACTIVE_AUS or len(names) > MOST or names == [UNKNOWN]:
            continue
        scores[attribute] = {name: _group(values == name, numbers, without_landmarks) for name in names}
    return scores


def _group(
    rows: NDArray[np.bool_], numbers: Mapping[str, NDArray[np.floating]], without_landmarks: NDArray[np.bool_]
) -> dict[str, Any]:
    group: dict[str, Any] = {"images": int(rows.sum())}
    for name, values in numbers.items():
        own = values[rows & np.isfinite(values)]
        none = dict.fromkeys((name, f"{name}_low", f"{name}_high"))
        group |= mean_interval(own, resamples=RESAMPLES).columns(name) if len(own) else none
    return {**group, "without_landmarks": float(without_landmarks[rows].mean())}
