"""Predictions to scores: how often the network is right, how well its maps cover the action units, beside baselines.

    python -m eval.score predictions.h5 --means DATA/means.npz --untrained untrained.h5 --out DIR/scores.json

Without --means (`eval.metrics.training_means`) the baselines that know how faces look
stay out, without --untrained (`eval.predict --untrained`) that of random weights. Beside the scores stand

- confusion.csv: faces by true class (rows) and predicted class (columns);
- cosines.csv: cosines with the AU heatmap by expression, and their average (rows), of the attention of every layer and
  of the CAM (columns); empty where no face of an expression has a heatmap;
- images.csv: a row per face with its classes, confidence, how it was found (status `face`, `step` and `score` of the
  detector, `landmark_quality`), attributes and every number of `eval.metrics.per_face`; empty where one is not defined.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from eval.metrics import classification, discrimination
from eval.metrics.baselines import BASELINES, PREFIX, SKILL, skill
from eval.metrics.calibration import calibration, confidences
from eval.metrics.cosines import aggregate
from eval.metrics.groups import group_scores
from eval.metrics.names import MEASURES
from eval.metrics.per_face import CAM, FaceMeasures, attention_name, measure_faces
from eval.metrics.training_means import read_means
from eval.records.predictions import ORDERED, Predictions, identity, read_predictions
from pipeline.errors import run
from pipeline.storage.files import refuse_overwriting, write_text
from train.card.schema import Card

Numbers = NDArray[np.float64]
Scores = dict[str, Any]


def scores_of(predictions: Predictions, measured: FaceMeasures) -> Scores:
    """Gather the scores of a run and where they come from; shares are in [0, 1], null means no CAM or no face.

    `maps` has every measure of CAM and attention, macro over expressions and micro over faces, with the baselines
    (macro cosines on the same faces) and the skill against the class-agnostic one.
    """
    classified = classification.classification_scores(predictions.logits, predictions.expressions)
    cosines = {
        str(layer): _summary(predictions, measured.values[attention_name(layer)]) for layer in predictions.attention
    }
    cam = _summary(predictions, measured.values[f"{CAM}_cosine"]) if CAM in measured.kinds else None
    kinds = {f"{kind}_cosine": measured.values[f"{kind}_cosine"] for kind in measured.kinds}
    right = predictions.predicted == predictions.expressions
    return {
        **_origin(predictions),
        "images": len(predictions.ids),
        "images_with_map": int(predictions.valid.sum()),
        "accuracy": classified.accuracy,
        "balanced_accuracy": classified.balanced_accuracy,
        "macro_f1": classified.macro_f1,
        "cam_cosine": cam["macro"] if cam else None,
        "cam_cosine_micro": cam["micro"] if cam else None,
        "attention_cosine": {layer: value["macro"] for layer, value in cosines.items()},
        "attention_cosine_micro": {layer: value["micro"] for layer, value in cosines.items()},
        "per_class": _per_class(predictions, classified, cam, cosines),
        "labels": [expression.label for expression in Expression],
        "confusion": classified.confusion.tolist(),
        "maps": {kind: _map_scores(predictions, measured, kind) for kind in measured.kinds},
        "calibration": calibration(predictions.logits, predictions.expressions),
        "groups": group_scores(predictions.attributes, right, kinds, predictions.without_landmarks),
        "truth": _truth(predictions, measured),
    }


def _origin(predictions: Predictions) -> Scores:
    card = predictions.card
    return {
        **identity(card),
        "backbone": card.model.backbone,
        "image_size": card.model.image_size,
        "resize": card.guidance.resize,
        "codebook": card.heatmap.codebook,
        "geometry": card.heatmap.geometry,
        "settings": settings(card),
        "card": card.digest(),
        "checkpoint": predictions.checkpoint,
        "commit": predictions.commit,
    }


def settings(card: Card) -> str:
    """Return a short hash of everything in a card but the seed, so that runs of different configurations never mix."""
    return card.digest(exclude={"seed"})[:12]


def _summary(predictions: Predictions, values: Numbers) -> Scores:
    """Average a number over the faces that have it: macro over the six expressions, micro, and each; null for none."""
    known = predictions.valid & np.isfinite(values)
    if not known.any():
        return {"macro": None, "micro": None, "per_class": {expression.label: None for expression in ORDERED}}
    average = aggregate(values, predictions.expressions, known)
    per_class = {expression.label: average.per_class.get(expression) for expression in ORDERED}
    return {"macro": average.macro, "micro": average.micro, "per_class": per_class}


def _map_scores(predictions: Predictions, measured: FaceMeasures, kind: str) -> Scores:
    measures: Scores = {name: _summary(predictions, measured.values[f"{kind}_{name}"]) for name in MEASURES}
    columns = {name: measured.values.get(f"{kind}_{PREFIX}{name}") for name in BASELINES}
    columns |= {name: measured.values[PREFIX + name] for name in BASELINES if PREFIX + name in measured.values}
    levels = {
        name: None if values is None else _summary(predictions, values)["macro"] for name, values in columns.items()
    }
    agnostic, valid = levels[SKILL], predictions.valid
    matched = discrimination.confusion(measured.matched[kind][valid], predictions.expressions[valid])
    return {
        **measures,
        "retrieval_confusion": matched.tolist(),
        "baselines": levels,
        "skill": None if agnostic is None else skill(measures["cosine"]["macro"], agnostic),
    }


def _truth(predictions: Predictions, measured: FaceMeasures) -> Scores | None:
    """Summarise the cosines with the map of the truly active AUs, of the maps and of the AU heatmap itself."""
    if "heatmap_truth" not in measured.values:
        return None
    names = ("heatmap", *measured.kinds)
    averages: Scores = {name: _summary(predictions, measured.values[f"{name}_truth"]) for name in names}
    return {"images": int(np.isfinite(measured.values["heatmap_truth"]).sum()), **averages}


def _per_class(
    predictions: Predictions, classified: classification.Classification, cam: Scores | None, cosines: dict[str, Scores]
) -> dict[str, Scores]:
    rows = {}
    for expression in Expression:
        label, of_class = expression.label, predictions.expressions == expression
        rows[label] = {
            "images": int(of_class.sum()),
            "images_with_map": int((predictions.valid & of_class).sum()),
            "recall": float(classified.recall[expression]) if of_class.any() else None,
            "cam_cosine": cam["per_class"].get(label) if cam else None,
            "attention_cosine": {layer: value["per_class"].get(label) for layer, value in cosines.items()},
        }
    return rows


def confusion_table(scores: Scores) -> pd.DataFrame:
    """Count the faces by true class (rows) and predicted class (columns)."""
    return pd.DataFrame(scores["confusion"], pd.Index(scores["labels"], name="true"), scores["labels"])


def cosine_table(scores: Scores) -> pd.DataFrame:
    """Arrange the mean cosines: six expressions and their average; layer-1 and on, then cam if the method has one."""
    labels = [expression.label for expression in ORDERED]
    rows = [*(scores["per_class"][label] for label in labels), scores]
    cosines = [{f"layer-{layer}": value for layer, value in scored["attention_cosine"].items()} for scored in rows]
    table = pd.DataFrame(cosines, pd.Index([*labels, "average"], name="expression"))
    return table if scores["cam_cosine"] is None else table.assign(cam=[scored["cam_cosine"] for scored in rows])


def image_table(predictions: Predictions, measured: FaceMeasures) -> pd.DataFrame:
    """Arrange the numbers of each face: id, classes as words, flags as 0 and 1, detection, attributes, `measured`."""
    labels = np.array([expression.label for expression in Expression], object)
    columns: dict[str, Any] = {
        "id": predictions.ids,
        "expression": labels[predictions.expressions],
        "predicted": labels[predictions.predicted],
        "confidence": confidences(predictions.logits),
        "correct": (predictions.predicted == predictions.expressions).astype(int),
        "valid": predictions.valid.astype(int),
        **predictions.detection,
        **predictions.attributes,
        **measured.values,
    }
    for kind in measured.kinds:
        matched = measured.matched[kind]
        columns[f"{kind}_retrieved"] = np.where(matched == discrimination.NOTHING, "", labels[matched])
    return pd.DataFrame(columns)


def write_scores(predictions: Path, out: Path, *, means: Path | None = None, untrained: Path | None = None) -> None:
    """Score a predictions file and write the tables beside the scores.

    Raises ValueError instead of writing a score that is not finite.
    """
    confusion, cosines, images = (out.with_name(f"{name}.csv") for name in ("confusion", "cosines", "images"))
    refuse_overwriting(filter(None, [predictions, means, untrained]), [out, confusion, cosines, images])
    run = read_predictions(predictions)
    random = read_predictions(untrained) if untrained else None
    measured = measure_faces(run, read_means(means) if means else None, random)
    scores = scores_of(run, measured)
    text = json.dumps(scores, indent=2, allow_nan=False) + "\n"
    write_text(confusion, confusion_table(scores).to_csv())
    write_text(cosines, cosine_table(scores).to_csv())
    write_text(images, image_table(run, measured).to_csv(index=False, float_format="%.7g"))
    write_text(out, text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.score",
        description="Read the predictions of a run; write its scores, confusion.csv, cosines.csv and images.csv.",
    )
    parser.add_argument("predictions", type=Path, help="predictions.h5 of eval.predict")
    alone = "without it, its baselines stay empty"
    parser.add_argument("--means", type=Path, help=f"means.npz of eval.metrics.training_means; {alone}")
    parser.add_argument("--untrained", type=Path, help=f"untrained.h5 of eval.predict --untrained; {alone}")
    parser.add_argument("--out", type=Path, required=True, help="scores.json to write")
    write_scores(**vars(parser.parse_args()))


if __name__ == "__main__":
    run(main)
