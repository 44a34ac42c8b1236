"""Predictions to average maps: where the action units are, and where the network looks, per expression.

python -m eval.figures.maps predictions.h5 --out DIR/average_maps           one run: .npz, .png, .pdf, .csv
python -m eval.figures.maps compare PLAIN.npz AU.npz --out DIR/comparison   two runs in one figure: .png, .pdf, .csv
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.expressions import SIX
from au_guidance.heatmap import CANVAS
from au_guidance.raster import GRID
from eval.figures import style
from eval.metrics.cosines import attention_canvas, cam_canvas
from eval.records.predictions import MODE_BEFORE, Predictions, read_predictions
from eval.tables.layout import guidance_name, method_name
from pipeline.errors import UserError, run
from pipeline.geometry import Points, template
from pipeline.storage.files import atomic_write, beside, refuse_overwriting

BATCH = 64
NOTE = (
    "Mean over the test faces of each true class (their number is above). Rows of one kind share the scale on their "
    "right. ATT: attention, the channel mean of that layer. Rings: eyes, nose and mouth corners of an aligned face."
)
Maps = dict[str, NDArray[np.float32]]
Row = tuple[str, str, Maps]  # of the figure: label, kind of map, maps


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


def _sum(maps: NDArray[np.float16], canvas: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
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
        "mode": predictions.mode,
        "faces": counts,
        "checkpoint": predictions.checkpoint,
        "commit": predictions.commit,
    }


def write_averages(path: Path, out: Path) -> None:
    """Write `out`.npz, the average maps with their origin as JSON in `about`, and draw them."""
    refuse_overwriting([path], [beside(out, suffix) for suffix in (".npz", *style.SUFFIXES)])
    predictions = read_predictions(path)
    averages, about = average_maps(predictions), describe(predictions)
    with atomic_write(beside(out, ".npz")) as temporary:
        np.savez_compressed(temporary, about=np.array(json.dumps(about)), **averages)  # type: ignore[arg-type]
    rows = [
        ("AU map", "au_map", averages),
        ("CAM", "cam", averages),
        (f"ATT {about['layer']}", f"attention_{about['layer']}", averages),
    ]
    draw(out, _title(about, about["guidance"]), rows, about)


def compare(plain: Path, guided: Path, out: Path) -> None:
    """Draw the AU map, then CAM and attention of two runs, on scales that they share.

    The attention of both is that of the guided run's deepest guided layer.
    """
    refuse_overwriting([plain, guided], [beside(out, suffix) for suffix in style.SUFFIXES])
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
    draw(out, _title(first, f"without AU and with {second['guidance']}"), rows, first)


def _title(about: Mapping[str, Any], guidance: str) -> str:
    return f"{about['dataset']}: average maps, {method_name(about['method'])}, {guidance}, seed {about['seed']}"


def draw(out: Path, title: str, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Draw rows (label, kind, maps) of the six expressions as `out`.png, .pdf and .csv; missing kinds are skipped.

    Rows of one kind share one colour scale, from the smallest to the largest value shown. White rings mark eyes, nose
    and mouth corners of a face that was aligned as `about` says. The CSV holds means over the cells of a 28x28 grid,
    one grid line per row.
    """
    rows = [row for row in rows if f"{row[1]}_{SIX[0].label}" in row[2]]
    scales, rings = {}, template(CANVAS, about.get("mode", MODE_BEFORE))
    for kind in dict.fromkeys(kind for _, kind, _ in rows):
        shown = (maps[f"{kind}_{expression.label}"] for _, other, maps in rows if other == kind for expression in SIX)
        scales[kind] = matplotlib.colors.Normalize(*style.limits(shown))
    with style.figure(22 + 12.6 * len(rows), tight=True) as drawn:
        drawn.suptitle(fill(title, 66), fontsize=7)
        grid = drawn.subplots(len(rows), len(SIX), squeeze=False)
        for line, (label, kind, maps) in zip(grid, rows, strict=True):
            for axes, expression in zip(line, SIX, strict=True):
                _panel(axes, maps[f"{kind}_{expression.label}"], scales[kind], rings)
            line[0].set_ylabel(label, fontsize=6)
        for axes, expression in zip(grid[0], SIX, strict=True):
            axes.set_title(f"{expression.label}\n({about['faces'][expression.label]})", fontsize=6)
        for kind, scale in scales.items():
            lines = [line for line, row in zip(grid, rows, strict=True) if row[1] == kind]
            bar = style.colour_bar(drawn, [axes for line in lines for axes in line], scale, fraction=0.03, pad=0.01)
            bar.ax.tick_params(labelsize=5.5, length=1.5, pad=1)
        drawn.supxlabel(fill(NOTE, 86), fontsize=5.5)
        style.save(drawn, out, pd.concat(_numbers(rows), ignore_index=True))


def _panel(axes: Axes, values: NDArray[np.float32], scale: matplotlib.colors.Normalize, rings: Points) -> None:
    axes.set(xticks=[], yticks=[])
    if np.isnan(values).all():
        axes.text(0.5, 0.5, "no faces", ha="center", va="center", transform=axes.transAxes, fontsize=6)
        axes.set_box_aspect(1)
        return
    axes.spines[:].set_visible(False)
    axes.imshow(values, cmap=style.MAP, norm=scale, interpolation="nearest")
    axes.scatter(rings[:, 0], rings[:, 1], s=4, facecolors="none", edgecolors="white", linewidths=0.4)


def _numbers(rows: Sequence[Row]) -> Iterator[pd.DataFrame]:
    cell = CANVAS // GRID
    for label, kind, maps in rows:
        for expression in SIX:
            cells = maps[f"{kind}_{expression.label}"].reshape(GRID, cell, GRID, cell).mean((1, 3)).round(4)
            table = pd.DataFrame(cells, columns=[f"x{cell * column + cell // 2}" for column in range(GRID)])
            table.insert(0, "y", [cell * line + cell // 2 for line in range(GRID)])
            table.insert(0, "expression", expression.label)
            table.insert(0, "map", label.replace("\n", " "))
            yield table


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
        "--out", type=Path, required=True, help="path without suffix; of one run .npz is written too, beside the figure"
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
