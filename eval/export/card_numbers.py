"""The sections of a model card that are filled from scores: results, maps, confusion, spread, calibration, groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from au_guidance.expressions import SEVEN
from eval.export.scores import Evaluation
from eval.metrics.baselines import BASELINES, SKILL

MEASURES = {  # name, meaning
    "accuracy": ("Accuracy", "share of correct answers over all seven classes"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' recalls"),
    "macro_f1": ("Macro F1", "mean of the classes' F1"),
    "cam_cosine": (
        "CAM-COS",
        "cosine of the true class's activation map with the AU heatmap, mean over the six expressions",
    ),
    "attention_cosine": (
        "ATT-COS",
        "cosine of the channel mean of layer {layer} with the AU heatmap, mean over the six expressions",
    ),
}
KINDS = {"cam_cosine": "cam", "attention_cosine": "attention"}
BASELINE = "The baseline is the score, on the same faces, of one fixed map: the mean of the classes' AU heatmaps."
GROUPS = (
    "Cosines are means over faces here. Groups also differ in their expressions, so a difference need not come from "
    "the attribute."
)
SHOWN = ("uniform", SKILL, "predicted_class_mean", "class_mean", "ceiling")  # baselines of the maps' table
MAPS = (
    "Skill is (cosine - b) / (1 - b) with the class-agnostic mean as b: below 0 the map fits the action units worse "
    "than one fixed picture. Retrieval is how often the map is most like the AU heatmap of the true class among six; "
    "chance is 0.167. The last columns are cosines of baselines on the same faces."
)
SEEDS = "Mean and sample standard deviation over the seeds {seeds}; the network of this folder has seed {own}."
ONE_SEED = "The scores of one seed are known, so the spread between seeds is not."


def results(evaluation: Evaluation, layer: int) -> str:
    """Write the main numbers with intervals and baselines."""
    rows = []
    for name, (title, meaning) in MEASURES.items():
        number = evaluation.numbers[name]
        bounds = (number.interval.low, number.interval.high) if number.interval else ()
        rows.append((title, _value(number.value, *bounds), _baseline(evaluation, name), meaning.format(layer=layer)))
    bounded = any(number.interval for number in evaluation.numbers.values())
    note = "Brackets are 95 % intervals of the bootstrap over test faces. " if bounded else ""
    return f"{_table(('number', 'value', 'baseline', 'what it is'), rows)}\n{note}{BASELINE}"


def _baseline(evaluation: Evaluation, name: str) -> str:
    if name not in KINDS:
        return ""
    levels = evaluation.scores["maps"].get(KINDS[name], {}).get("baselines", {})
    return _value(levels.get(SKILL))


def maps(evaluation: Evaluation, layer: int) -> str:
    """Write cosine, skill, retrieval and baselines of attention and class map."""
    rows = []
    for kind, title in (("attention", f"attention, layer {layer}"), ("cam", "class map")):
        numbers = evaluation.scores["maps"].get(kind)
        if numbers:
            cells = [numbers["cosine"]["macro"], numbers.get("skill"), numbers["retrieval_true"]["macro"]]
            cells += [numbers["baselines"].get(name) for name in SHOWN]
            rows.append((title, *map(_value, cells)))
    head = ("map", "cosine", "skill", "retrieval", *(BASELINES[name].label for name in SHOWN))
    return f"{_table(head, rows)}\n{MAPS}"


def confusion(evaluation: Evaluation) -> str:
    """Write the test faces by true class (rows) and answer (columns), and the recalls."""
    known, labels = evaluation.scores["labels"], [expression.label for expression in SEVEN]
    order = [known.index(label) for label in labels]
    counts = np.array(evaluation.scores["confusion"])[np.ix_(order, order)]
    rows = [
        (label, *map(str, row.tolist()), _value(float(row[place] / row.sum()) if row.sum() else None))
        for place, (label, row) in enumerate(zip(labels, counts, strict=True))
    ]
    return _table(("true \\ answer", *labels, "recall"), rows)


def spread(evaluation: Evaluation, others: Sequence[Mapping[str, Any]], layer: int) -> str:
    """Write mean and deviation of the main numbers over this network and `others`, the scores of other seeds."""
    if not others:
        return ONE_SEED
    runs = [evaluation.scores, *others]
    rows = []
    for name, (title, _) in MEASURES.items():
        values = [run[name][str(layer)] if name == "attention_cosine" else run[name] for run in runs]
        if None not in values:
            deviation = float(np.std(values, ddof=1))
            rows.append((title, _value(float(np.mean(values))), _value(deviation), " ".join(map(_value, values))))
    note = SEEDS.format(seeds=", ".join(str(run["seed"]) for run in runs), own=evaluation.scores["seed"])
    return f"{_table(('number', 'mean', 'deviation', 'each'), rows)}\n{note}"


def calibration(evaluation: Evaluation, config: Mapping[str, Any]) -> str:
    """Write the calibration error and the temperature."""
    ece = _value(evaluation.scores["calibration"].get("ece"))
    temperature = config.get("temperature")
    more = f"; dividing the logits by {temperature:.3g} calibrates them on the validation faces" if temperature else ""
    return f"Expected calibration error {ece} over the test faces, 15 bins{more}."


def groups(evaluation: Evaluation) -> str:
    """Write the numbers of the groups that the dataset's attributes make, or that there are none."""
    if not evaluation.scores["groups"]:
        return "The test faces have no attributes such as gender or age, so nothing is known about groups."
    rows = []
    for attribute, values in evaluation.scores["groups"].items():
        for value, numbers in values.items():
            shown = [
                _value(*(numbers.get(name + side) for side in ("", "_low", "_high")))
                for name in ("accuracy", "cam_cosine", "attention_cosine")
            ]
            rows.append((attribute, value, str(numbers["images"]), *shown))
    return f"{_table(('attribute', 'group', 'faces', 'accuracy', 'CAM-COS', 'ATT-COS'), rows)}\n{GROUPS}"


def _value(value: float | None, low: float | None = None, high: float | None = None) -> str:
    bounds = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return "none" + bounds if value is None else f"{value:.3f}{bounds}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Escape a text so that it stays in its cell."""
    return " ".join(str(text).replace("|", "\\|").split())
