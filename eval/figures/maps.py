"""Predictions to average maps: where the action units are, and where the network looks, per expression.

python -m eval.figures.maps predictions.h5 --out DIR/average_maps           one run: .npz, .png, .pdf, .csv
python -m eval.figures.maps compare PLAIN.npz AU.npz --out DIR/comparison   two runs in one figure: .png, .pdf, .csv
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from au_guidance.expressions import SIX
from au_guidance.heatmap import CANVAS
from eval.figures.average_maps import draw
from eval.metrics.cosines import attention_canvas, cam_canvas
from eval.records.predictions import Predictions, read_predictions
from eval.tables.layout import guidance_name, method_name
from pipeline.errors import UserError, run
from pipeline.storage.files import atomic_write, beside

BATCH = 64

Maps = dict[str, NDArray[np.float32]]


def average_maps(predictions: Predictions) -> Maps:
    """Average maps of each expression's test faces, by true class: `<kind>_<expression>` (224, 224), NaN if no face.

    `au_map`: the true heatmap, over faces that have one. `cam`: the CAM of the true class, in [0, 1], over all faces of
    the class; absent for a method without CAM. `attention_<layer>`: each face's map divided by its maximum and read out
    as for ATT-COS, over all faces of the class. (The authors' code sums raw activations clamped to [0, 1] instead,
    whose scale has no meaning.)
    """
    averages: Maps = {}
    mode = predictions.card.guidance.resize
    heatmap_sums = {expression: np.zeros((CANVAS, CANVAS)) for expression in SIX}
    for row in np.flatnonzero(predictions.valid):
        heatmap_sums[predictions.expressions[row]] += predictions.own_heatmap(int(row))
    for expression in SIX:
        of_class = predictions.expressions == expression
        count = int((of_class & predictions.valid).sum())
        averages[f"au_map_{expression.label}"] = _divided(heatmap_sums[expression], count)
        rows = np.flatnonzero(of_class)
        if predictions.cam is not None:
            total = _sum(predictions.cam[rows], lambda maps: cam_canvas(maps, CANVAS))
            averages[f"cam_{expression.label}"] = _divided(total, len(rows))
        for layer, maps in predictions.attention.items():
            total = _sum(maps[rows], lambda maps: attention_canvas(maps, CANVAS, mode))
            averages[f"attention_{layer}_{expression.label}"] = _divided(total, len(rows))
    return averages


def _sum(maps: NDArray[np.float16], canvas: Any) -> NDArray[np.float64]:
    total = np.zeros((CANVAS, CANVAS))
    for start in range(0, len(maps), BATCH):
        total += canvas(torch.from_numpy(maps[start : start + BATCH].astype(np.float32))).double().sum(0).numpy()
    return total


def _divided(total: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    return (total / count if count else np.full_like(total, np.nan)).astype(np.float32)


def describe(predictions: Predictions) -> dict[str, Any]:
    """Return which run the maps are of and over how many faces they are averaged."""
    card = predictions.card
    counts = {expression.label: int((predictions.expressions == expression).sum()) for expression in SIX}
    return {
        "dataset": card.dataset,
        "method": card.method,
        "guidance": guidance_name(card.guidance.weight, card.guidance.layers, card.guidance.map),
        "seed": card.seed,
        "protocol": card.protocol,
        "layer": predictions.layer,
        "faces": counts,
        "checkpoint": predictions.checkpoint,
        "commit": predictions.commit,
    }


def write_averages(path: Path, out: Path) -> None:
    """Write `out`.npz, the average maps with their origin as JSON in `about`, and draw them.

    The figure is that of `eval.figures.average_maps.draw`.
    """
    predictions = read_predictions(path)
    averages, about = average_maps(predictions), describe(predictions)
    with atomic_write(beside(out, ".npz")) as temporary:
        np.savez_compressed(temporary, about=np.array(json.dumps(about)), **averages)  # type: ignore[arg-type]
    rows = [
        ("AU map", "au_map", averages),
        ("CAM", "cam", averages),
        (f"ATT {about['layer']}", f"attention_{about['layer']}", averages),
    ]
    title = (
        f"{about['dataset']}: average maps, {method_name(about['method'])}, {about['guidance']}, seed {about['seed']}"
    )
    draw(out, title, rows, about["faces"])


def compare(plain: Path, guided: Path, out: Path) -> None:
    """Draw the AU map, then CAM and attention of two runs, on scales that they share.

    The attention of both is that of the guided run's deepest guided layer.
    """
    (without, first), (with_au, second) = read_averages(plain), read_averages(guided)
    for key in ("dataset", "method", "seed", "protocol", "faces"):
        if first[key] != second[key]:
            raise UserError(f"{plain} and {guided} differ in {key}; give two runs that differ in their guidance only")
    if first["guidance"] != guidance_name(0, ()):
        raise UserError(f"{plain} is of a run with guidance ({first['guidance']}); give the plain run first")
    if not np.array_equal(without["au_map_anger"], with_au["au_map_anger"], equal_nan=True):
        raise UserError(f"{plain} and {guided} have different AU maps; run eval.figures.maps on both again")
    rows = [("AU map", "au_map", with_au)]
    layer = second["layer"]
    for label, name in (("CAM", "cam"), (f"ATT {layer}", f"attention_{layer}")):
        rows += [(f"{label}\nwithout AU", name, without), (f"{label}\nwith AU", name, with_au)]
    title = (
        f"{first['dataset']}: average maps, {method_name(first['method'])}, without AU and with {second['guidance']}"
    )
    title += f", seed {first['seed']}"
    draw(out, title, rows, first["faces"])


def read_averages(path: Path) -> tuple[Maps, dict[str, Any]]:
    """Read a `.npz` of this module: the maps and their origin; raise UserError if it is none."""
    try:
        with np.load(path) as stored:
            about = json.loads(str(stored["about"]))
            return {name: stored[name] for name in stored.files if name != "about"}, about
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make it with python -m eval.figures.maps") from None
    except Exception:  # numpy and zipfile raise many types on damaged bytes
        raise UserError(f"{path} holds no average maps; make them with python -m eval.figures.maps") from None


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.figures.maps",
        description="Average a run's maps per expression and draw them, or draw two runs in one figure.",
    )
    parser.add_argument(
        "inputs", nargs="+", help="predictions.h5; or the word compare and two .npz, without AU and with AU"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="path without suffix: .png, .pdf, .csv and, of one run, .npz are written",
    )
    arguments = parser.parse_args()
    match arguments.inputs:
        case ["compare", plain, guided]:
            compare(Path(plain), Path(guided), arguments.out)
        case [predictions]:
            write_averages(Path(predictions), arguments.out)
        case _:
            parser.error("give one predictions file, or: compare PLAIN.npz GUIDED.npz")


if __name__ == "__main__":
    run(main)
