"""Predictions to scores: how often the network is right, and how well its maps cover the action units.

    python -m eval.score predictions.h5 --out DIR/scores.json

Two matrices are written beside the scores. `confusion.csv`: faces by true class (rows) and predicted class (columns).
`cosines.csv`: cosines with the AU heatmap by expression, and their average (rows), of the attention of every layer and
of the CAM (columns); empty where no face of an expression has a heatmap.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from eval import metrics
from eval.predictions import Predictions, read
from pipeline.action_units import CANVAS
from pipeline.errors import UserError, run
from pipeline.expressions import SIX, Expression
from pipeline.files import write_text
from train.config import Card

CAM = "cam_cosine"


def attention_name(layer: int) -> str:
    """Return the name of a layer's ATT-COS in `image_cosines`."""
    return f"attention_cosine_{layer}"


def image_cosines(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    """Return CAM-COS and the ATT-COS of every layer for each face (n,); NaN where a face has no AU heatmap.

    Maps and heatmaps are compared on the 224-px canvas, a few faces at a time; a card with `resize: published` has its
    attention read out in the published way, with which it was trained.
    """
    names = [attention_name(layer) for layer in predictions.attention] + [CAM] * (predictions.cam is not None)
    cosines = {name: np.full(len(predictions.ids), np.nan) for name in names}
    mode = predictions.card.guidance.resize
    for rows, drawn in predictions.heatmaps():
        heatmaps = torch.from_numpy(drawn)
        for layer, maps in predictions.attention.items():
            canvas = metrics.attention_canvas(_tensor(maps[rows]), CANVAS, mode)
            cosines[attention_name(layer)][rows] = metrics.map_cosine(canvas, heatmaps)
        if predictions.cam is not None:
            canvas = metrics.cam_canvas(_tensor(predictions.cam[rows]), CANVAS)
            cosines[CAM][rows] = metrics.map_cosine(canvas, heatmaps)
    return cosines


def _tensor(maps: NDArray[np.float16]) -> torch.Tensor:
    return torch.from_numpy(maps.astype(np.float32))


def score(predictions: Predictions) -> dict[str, Any]:
    """Return the scores of a run with all that tells where they come from; shares are in [0, 1], null means no CAM."""
    if not predictions.valid.any():
        raise UserError(f"{predictions.path}: no test face has an AU heatmap; check the landmarks of the dataset")
    classified = metrics.classification(predictions.logits, predictions.expressions)
    scored = {
        name: metrics.aggregate(cosines, predictions.expressions, predictions.valid)
        for name, cosines in image_cosines(predictions).items()
    }
    attention = {str(layer): scored[attention_name(layer)] for layer in predictions.attention}
    cam = scored.get(CAM)
    return {
        **_origin(predictions),
        "images": len(predictions.ids),
        "images_with_map": int(predictions.valid.sum()),
        "accuracy": classified.accuracy,
        "balanced_accuracy": classified.balanced_accuracy,
        "macro_f1": classified.macro_f1,
        "cam_cosine": cam.macro if cam else None,
        "cam_cosine_micro": cam.micro if cam else None,
        "attention_cosine": {layer: value.macro for layer, value in attention.items()},
        "attention_cosine_micro": {layer: value.micro for layer, value in attention.items()},
        "per_class": _per_class(predictions, classified, cam, attention),
        "labels": [expression.label for expression in Expression],
        "confusion": classified.confusion.tolist(),
    }


def _origin(predictions: Predictions) -> dict[str, Any]:
    card = predictions.card
    return {
        "dataset": card.dataset,
        "method": card.method,
        "variant": card.variant,
        "weight": card.guidance.weight,
        "layers": list(card.guidance.layers),
        "seed": card.seed,
        "protocol": card.protocol,
        "backbone": card.model.backbone,
        "image_size": card.model.image_size,
        "resize": card.guidance.resize,
        "codebook": card.heatmap.codebook,
        "geometry": card.heatmap.geometry,
        "settings": settings(card),
        "checkpoint": predictions.checkpoint,
        "commit": predictions.commit,
    }


def settings(card: Card) -> str:
    """Return a short hash of everything in a card but the seed, so that runs of different configurations never mix."""
    return hashlib.sha256(card.model_dump_json(exclude={"seed"}).encode()).hexdigest()[:12]


def _per_class(
    predictions: Predictions,
    classified: metrics.Classification,
    cam: metrics.MapScore | None,
    attention: dict[str, metrics.MapScore],
) -> dict[str, dict[str, Any]]:
    rows = {}
    for expression in Expression:
        images = int((predictions.expressions == expression).sum())
        rows[expression.label] = {
            "images": images,
            "images_with_map": int((predictions.valid & (predictions.expressions == expression)).sum()),
            "recall": float(classified.recall[expression]) if images else None,
            "cam_cosine": cam.per_class.get(expression) if cam else None,
            "attention_cosine": {layer: value.per_class.get(expression) for layer, value in attention.items()},
        }
    return rows


def confusion_table(scores: dict[str, Any]) -> pd.DataFrame:
    """Count the faces by true class (rows) and predicted class (columns)."""
    return pd.DataFrame(scores["confusion"], pd.Index(scores["labels"], name="true"), scores["labels"])


def cosine_table(scores: dict[str, Any]) -> pd.DataFrame:
    """Arrange the mean cosines: six expressions and their average; layer-1 and on, then cam if the method has one."""
    labels = [expression.label for expression in sorted(SIX)]  # in the order of the class ids
    found = [*(scores["per_class"][label] for label in labels), scores]
    cosines = [{f"layer-{layer}": value for layer, value in row["attention_cosine"].items()} for row in found]
    table = pd.DataFrame(cosines, pd.Index([*labels, "average"], name="expression"))
    return table if scores["cam_cosine"] is None else table.assign(cam=[row["cam_cosine"] for row in found])


def write_scores(predictions: Path, out: Path) -> None:
    """Score a predictions file and write the two matrices beside the scores.

    Raises ValueError instead of writing a number that is not finite.
    """
    scores = score(read(predictions))
    text = json.dumps(scores, indent=2, allow_nan=False) + "\n"
    write_text(out.with_name("confusion.csv"), confusion_table(scores).to_csv())
    write_text(out.with_name("cosines.csv"), cosine_table(scores).to_csv())
    write_text(out, text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Score a network's answers for the test faces.")
    parser.add_argument("predictions", type=Path, help="predictions.h5 of eval.predict")
    parser.add_argument(
        "--out", type=Path, required=True, help="scores.json to write, with confusion.csv and cosines.csv"
    )
    arguments = parser.parse_args()
    write_scores(arguments.predictions, arguments.out)


if __name__ == "__main__":
    run(main)
