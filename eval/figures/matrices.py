"""Two matrices of one run: its confusion, and its cosines by expression and layer (the paper's Figs. 10 and 11)."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from au_guidance.expressions import SIX
from eval.figures import style
from eval.records.runs import Run
from eval.tables.layout import guidance_name, method_name
from pipeline.errors import UserError

Matrix = NDArray[np.float64]


def draw_matrices(runs: Sequence[Run], out: Path) -> None:
    """Draw the confusion matrix of a run, in percent of each true class, above its cosines with the AU map.

    The second matrix has a row for each of the six expressions, in the paper's order, and for their average, and a
    column for each layer and the CAM. Both have fixed colour scales, 0 to 100 % and 0 to 1, so that runs compare.
    """
    if len(runs) != 1 or runs[0].state != "done":
        raise UserError("matrices are of one finished run; give one scores.json")
    run = runs[0]
    labels = list(run.scores["labels"])
    confusion, (names, columns, cosines) = _shares(run), _cosines(run)
    with style.figure(155) as drawn:
        above, below = drawn.subplots(2, 1, height_ratios=[7, 7])
        _matrix(drawn, above, 100 * confusion, 100, "share of the true class, %")
        _ticks(above, labels, labels)
        above.set(xlabel="predicted", ylabel="true")
        _matrix(drawn, below, cosines, 1, "cosine with the AU map")
        _ticks(below, names, columns)
        below.axhline(len(names) - 1.5, color="white", linewidth=1.5)
        place = f"{run.dataset}, {run.protocol}, seed {run.seed}"
        accuracy = f"CL {100 * run.scores['accuracy']:.2f} %"
        above.set_title(
            f"{method_name(run.method)}, {guidance_name(run.weight, run.layers, run.map)}\n{place}: {accuracy}"
        )
        style.save(drawn, out, _long(run, names, columns, cosines))


def _shares(run: Run) -> Matrix:
    counts = np.array(run.scores["confusion"], float)
    totals = counts.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    return shares


def _cosines(run: Run) -> tuple[list[str], list[str], Matrix]:
    labels = [expression.label for expression in SIX]
    parts = [*(run.scores["per_class"][label] for label in labels), run.scores]
    layers = sorted(run.scores["attention_cosine"], key=int)
    columns = [f"layer {layer}" for layer in layers]
    rows = [[row["attention_cosine"].get(layer) for layer in layers] for row in parts]
    if run.scores["cam_cosine"] is not None:
        columns.append("CAM")
        rows = [[*values, row["cam_cosine"]] for values, row in zip(rows, parts, strict=True)]
    return [*labels, "average"], columns, np.array(rows, float)


def _matrix(drawn: Figure, axes: Axes, values: Matrix, top: float, name: str) -> None:
    scale = matplotlib.colors.Normalize(0, top)
    picture = axes.imshow(values, cmap=style.MAP, norm=scale, aspect="auto")
    bar = drawn.colorbar(picture, ax=axes, fraction=0.05, pad=0.02, aspect=25, label=name)
    bar.outline.set_linewidth(0.4)
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.0f}" if top == 100 else f"{value:.2f}"
        axes.text(
            column, row, text, ha="center", va="center", color="black" if value > 0.6 * top else "white", fontsize=6.5
        )


def _ticks(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), labels=rows)
    axes.set_xticks(range(len(columns)), labels=columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _long(run: Run, names: Sequence[str], columns: Sequence[str], cosines: Matrix) -> pd.DataFrame:
    labels, counts = run.scores["labels"], run.scores["confusion"]
    shares = np.ndenumerate(_shares(run))
    rows = [("confusion", labels[i], labels[j], share, counts[i][j]) for (i, j), share in shares]
    rows += [("cosine", names[i], columns[j], cosine, "") for (i, j), cosine in np.ndenumerate(cosines)]
    return pd.DataFrame(rows, columns=["matrix", "row", "column", "value", "images"])
