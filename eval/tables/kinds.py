"""What each table shows: its metrics, their headings, and where they are in the scores of a run."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from eval.metrics.baselines import BASELINES, PREFIX
from eval.metrics.names import COSINES, DISCRIMINATION, LOCALISATION
from eval.records.runs import Run

Column = tuple[str, str]  # kind of map (cam, attention, or empty if the metric is not of a map) and metric

MAPS = {"cam": "CAM", "attention": "attention"}
CALIBRATION = {"ece": "ECE", "nll": "NLL"}
PERTURBATION = {
    "deletion": "deletion",
    "random_deletion": "deletion, random map",
    "deletion_gain": "deletion, gain",
    "insertion": "insertion",
    "random_insertion": "insertion, random map",
    "insertion_gain": "insertion, gain",
    "road_morf": "ROAD MoRF",
    "road_lerf": "ROAD LeRF",
    "road": "ROAD LeRF − MoRF",
    "randomised": "all weights random",
}
REGIONS = {
    "full": "whole face",
    "au_kept": "only AU regions",
    "random_kept": "only random regions",
    "au_removed": "without AU regions",
    "random_removed": "without random regions",
}
GROUPS = ("accuracy", "cam_cosine", "attention_cosine", "without_landmarks")
HEADINGS = {
    "accuracy": "CL (%)",
    **{f"{kind}_cosine": name for kind, name in COSINES.items()},
    "balanced_accuracy": "balanced accuracy (%)",
    "macro_f1": "macro F1",
    "cosine": "cosine",
    "skill": "skill",
    "truth": "cosine, truly active AUs",
    "seconds_per_epoch": "s per epoch",
    "time_ratio": "with / without",
    "without_landmarks": "without landmarks (%)",
    **{f"{PREFIX}{name}": baseline.label for name, baseline in BASELINES.items()},
    **DISCRIMINATION,
    **LOCALISATION,
    **CALIBRATION,
    **PERTURBATION,
    **{name: f"{heading} (%)" for name, heading in REGIONS.items()},
}
PERCENT = {"accuracy", "balanced_accuracy", "retrieval_true", "retrieval_predicted", "without_landmarks", *REGIONS}
PAPER_DIGITS = {  # two, as the paper prints
    "accuracy", "balanced_accuracy", "cam_cosine", "attention_cosine", "seconds_per_epoch", "time_ratio",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of table: its sections (heading and metrics), what a row is, and the paper's table to compare with.

    `rows` is "method" (variants are columns), "setting" (a row per method and variant), "either" (settings if a sweep
    has several of a variant, else methods), or "group" (a row per method, variant and group of faces).
    """

    title: str
    sections: dict[str, tuple[Column, ...]]
    rows: str
    paper: str = ""

    def arranged(self, variants: Iterable[tuple[Hashable, Hashable]]) -> "Kind":
        """Decide what a row of `either` is, for pairs of a variant and its setting; sweeps have no paper's numbers."""
        if self.rows != "either":
            return self
        pairs = set(variants)
        swept = len(pairs) > len({variant for variant, _ in pairs})
        return replace(self, rows="setting", paper="") if swept else replace(self, rows="method")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The metrics of all sections."""
        return tuple(column for columns in self.sections.values() for column in columns)


def _plain(*metrics: str) -> tuple[Column, ...]:
    return tuple(("", metric) for metric in metrics)


def _of_maps(name: str, *metrics: str) -> dict[str, tuple[Column, ...]]:
    return {f"{label}: {name}": tuple((kind, metric) for metric in metrics) for kind, label in MAPS.items()}


_THREE = {"": _plain("accuracy", "cam_cosine", "attention_cosine")}
KINDS = {
    "table1": Kind(
        "Classification (CL) and CAM-COS, without and with AU",
        {"": _plain("accuracy", "cam_cosine")},
        "method",
        paper="table1",
    ),
    "table2": Kind("ATT-COS, without and with AU", {"": _plain("attention_cosine")}, "method", paper="table2"),
    "table3": Kind("CL, CAM-COS and ATT-COS by the guided layers", _THREE, "setting", paper="table3"),
    "lambda": Kind("CL, CAM-COS and ATT-COS by λ, the weight of the AU term", _THREE, "setting", paper="fig5"),
    "sweep": Kind("CL, CAM-COS and ATT-COS by weight and layers of the AU term", _THREE, "setting"),
    "classification": Kind(
        "Accuracy and calibration",
        {"": _plain("accuracy", "balanced_accuracy", "macro_f1", *CALIBRATION)},
        "either",
        paper="table1",
    ),
    "baselines": Kind(
        "Cosines beside their baselines, class discrimination and localisation",
        {
            **_of_maps(
                "cosine, skill and baselines", "cosine", "skill", *(f"{PREFIX}{name}" for name in BASELINES), "truth"
            ),
            **_of_maps("class discrimination", *DISCRIMINATION),
            **_of_maps("localisation", *LOCALISATION),
        },
        "setting",
    ),
    "faithfulness": Kind(
        "Faithfulness: do the maps show what the network uses?",
        {**_of_maps("perturbation", *PERTURBATION), "accuracy on parts of the face": _plain(*REGIONS)},
        "setting",
    ),
    "groups": Kind("Accuracy, cosines and landmark failures by group", {"": _plain(*GROUPS)}, "group"),
    "time": Kind("Time per epoch of training", {"": _plain("seconds_per_epoch", "time_ratio")}, "either", paper="time"),
}


def digits(metric: str, kind: str = "") -> int:
    """Return the number of decimals of a metric."""
    return 2 if metric in PAPER_DIGITS and not kind else 1 if metric in PERCENT else 3


def measured(run: Run, kind: str, metric: str) -> float | None:
    """Return a number of a run as tables show it (`scaled`, macro means), None if it has none.

    ATT-COS is that of the deepest guided layer.
    """
    value: Any = run.scores
    for key in ("attention_cosine", str(run.layer)) if metric == "attention_cosine" else _path(kind, metric):
        value = value.get(key) if isinstance(value, dict) else None
    return scaled(metric, value.get("macro") if isinstance(value, dict) else value)


def scaled(metric: str, value: float | None) -> float | None:
    """Return a score as tables show it: shares in percent."""
    return None if value is None else (100 if metric in PERCENT else 1) * float(value)


def _path(kind: str, metric: str) -> tuple[str, ...]:
    if metric in CALIBRATION:
        return "calibration", metric
    if metric in REGIONS:
        return "faithfulness", "regions", metric
    if metric in PERTURBATION:
        return "faithfulness", "maps", kind, metric
    if metric == "truth":
        return "truth", kind
    if metric.startswith(PREFIX):
        return "maps", kind, "baselines", metric.removeprefix(PREFIX)
    return ("maps", kind, metric) if kind else (metric,)
