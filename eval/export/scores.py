"""The scores of a checkpoint for its model card, with bootstrap intervals over the test faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from au_guidance.expressions import SIX, Expression
from eval.metrics.inference import Interval, mean_interval
from eval.metrics.per_face import CAM
from eval.records.runs import read_json
from pipeline.errors import UserError
from pipeline.storage.files import digest

NEEDED = {"checkpoint", "images", "images_with_map", "accuracy", "balanced_accuracy", "macro_f1", "cam_cosine",
          "attention_cosine", "maps", "labels", "confusion", "calibration", "groups", "protocol", "seed",
          "settings"}  # fmt: skip
COLUMNS = {"expression", "correct", "valid", "attention_cosine"}
ROUNDING = 1e-5  # images.csv has seven digits
RESAMPLES = 10_000


@dataclass(frozen=True)
class Number:
    """A score and, if the scores of the single faces are known, its 95 % interval."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True)
class Evaluation:
    """The scores of a checkpoint; `numbers` are those of the model card's table, by name."""

    scores: dict[str, Any]
    numbers: dict[str, Number]


def read_evaluation(path: Path, checkpoint: Path, layer: int) -> Evaluation:
    """Read scores.json and, if it exists, images.csv beside it; the attention is that of `layer`.

    Raises UserError if the scores are of another checkpoint, or images.csv does not belong to them.
    """
    scores = _read(path)
    if scores["checkpoint"] != digest(checkpoint):
        raise UserError(f"{path} holds the scores of another checkpoint; run eval.predict and eval.score on this one")
    values = {name: scores[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "cam_cosine")}
    values["attention_cosine"] = scores["attention_cosine"].get(str(layer))
    faces = path.with_name("images.csv")
    intervals = _intervals(faces, scores) if faces.exists() else {}
    for name, interval in intervals.items():
        if values[name] is None or abs(interval.value - values[name]) > ROUNDING:
            raise UserError(f"{faces} does not fit {path.name} ({name}); run eval.score again")
    return Evaluation(scores, {name: Number(value, intervals.get(name)) for name, value in values.items()})


def read_other_seeds(paths: Sequence[Path], evaluation: Evaluation | None) -> list[dict[str, Any]]:
    """Read the scores of other seeds of a training; raise UserError if one is of another training or repeats a seed."""
    if paths and evaluation is None:
        raise UserError("--seeds: the checkpoint has no scores.json beside it; give --scores")
    others: list[dict[str, Any]] = []
    for path in paths:
        scores = _read(path)
        for run in (*([evaluation.scores] if evaluation else []), *others):
            if scores["settings"] != run["settings"]:
                raise UserError(
                    f"--seeds: {path} holds the scores of other settings; name runs that differ in the seed"
                )
            if scores["seed"] == run["seed"]:
                raise UserError(f"--seeds: {path} holds the scores of seed {scores['seed']} again; name each seed once")
        others.append(scores)
    return others


def _read(path: Path) -> dict[str, Any]:
    scores = read_json(path, "scores.json", "python -m eval.score")
    missing = sorted(NEEDED - set(scores))
    if missing:
        raise UserError(f"{path} holds no {missing[0]}; make it again with python -m eval.score")
    return scores


def _intervals(path: Path, scores: dict[str, Any]) -> dict[str, Interval]:
    """Resample the faces: all of them for accuracy, within each class for means over classes."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"id": str})
        classes = np.array([Expression.parse(name) for name in table["expression"]], np.int64)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is no images.csv of eval.score: {' '.join(str(error).split())[:100]}") from None
    missing = sorted(COLUMNS - set(table.columns))
    if missing:
        raise UserError(f"{path} has no column {missing[0]}; run eval.score again")
    right = table["correct"].to_numpy(np.float64)
    intervals = {
        "accuracy": mean_interval(right, resamples=RESAMPLES),
        "balanced_accuracy": mean_interval(right, groups=classes, resamples=RESAMPLES),
        "macro_f1": macro_f1_interval(np.array(scores["confusion"])),
    }
    with_map = (table["valid"].to_numpy() == 1) & np.isin(classes, SIX)
    for name in (f"{CAM}_cosine", "attention_cosine"):
        values = table[name].to_numpy(np.float64) if name in table else np.full(len(table), np.nan)
        known = with_map & np.isfinite(values)
        if known.any():
            intervals[name] = mean_interval(values[known], groups=classes[known], resamples=RESAMPLES)
    return intervals


def macro_f1_interval(confusion: NDArray[np.integer], seed: int = 0) -> Interval:
    """Estimate macro F1 and its 95 % interval from the faces by true (rows) and predicted class.

    Faces are drawn with replacement within each true class, whose row is then multinomial.
    """
    classes = np.flatnonzero(confusion.sum(1) > 0)
    rows = confusion[classes]
    rng = np.random.default_rng(seed)
    resampled = np.stack([rng.multinomial(row.sum(), row / row.sum(), RESAMPLES) for row in rows], 1)
    low, high = np.quantile(_macro_f1(resampled, classes), [0.025, 0.975])
    return Interval(float(_macro_f1(rows[None], classes)[0]), float(low), float(high), int(confusion.sum()))


def _macro_f1(confusions: NDArray[np.integer], classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """F1_c = 2 correct_c / (n_c + predicted_c), averaged over the classes of the rows, of confusions (b, r, k)."""
    correct = np.take_along_axis(confusions, classes[None, :, None], 2)[..., 0]
    f1: NDArray[np.float64] = 2 * correct / (confusions.sum(2) + confusions.sum(1)[:, classes])
    return np.asarray(f1.mean(1))
