"""Two matrices of a run: its confusion, and its cosines by expression and layer (the paper's Figs. 10 and 11)."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from au_guidance.expressions import SEVEN, SIX
from eval.figures import style
from eval.records.runs import Run
from eval.tables.layout import VARIANTS, guidance_name, method_name
from pipeline.errors import UserError

Matrix = NDArray[np.float64]
CLASSES = [expression.label for expression in SEVEN]


def draw_matrices(runs: Sequence[Run], out: Path) -> None:
    """Draw a run's confusion matrix, in percent of each true class, beside its cosines with the AU map.

    With a second run, the one without AU, both have a row, with AU above without. The second matrix has a row for each
    of the six expressions, in the paper's order, and for their average, and a column for each layer and the CAM. Both
    have fixed colour scales, 0 to 100 % and 0 to 1, so that runs compare.
    """
    shown = _checked(runs)
    first = shown[0]
    with style.figure(8 + 68 * len(shown), width=style.PAGE) as drawn:
        drawn.suptitle(f"{method_name(first.method)}, {first.dataset}, {first.protocol}, seed {first.seed}", fontsize=7)
        for (left, right), run in zip(drawn.subplots(len(shown), 2, squeeze=False), shown, strict=True):
            _draw_confusion(drawn, left, run)
            _draw_cosines(drawn, right, run)
        style.save(drawn, out, pd.concat(map(_long, shown), ignore_index=True))


def _checked(runs: Sequence[Run]) -> list[Run]:
    """Return one run, or a run with AU and the same one without, in this order; raise UserError if they are others."""
    shown = sorted(runs, key=lambda run: not run.weight)
    pair = len(shown) == 2 and shown[0].weight and not shown[1].weight
    places = {(run.place, run.seed) for run in shown}
    if not (len(shown) == 1 or pair) or len(places) != 1 or any(run.state != "done" for run in shown):
        raise UserError(
            "matrices are of one finished run, or of one with AU and the same one without; give their scores"
        )
    return shown


def _draw_confusion(drawn: Figure, axes: Axes, run: Run) -> None:
    _matrix(drawn, axes, 100 * _shares(run), 100, "share of the true class, %")
    _ticks(axes, CLASSES, CLASSES)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{_name(run)}: CL {100 * run.scores['accuracy']:.2f} %")


def _draw_cosines(drawn: Figure, axes: Axes, run: Run) -> None:
    names, columns, cosines = _cosines(run)
    _matrix(drawn, axes, cosines, 1, "cosine with the AU map")
    _ticks(axes, names, columns)
    axes.axhline(len(names) - 1.5, color="white", linewidth=1.5)
    axes.set_title(f"{_name(run)}: cosines")


def _name(run: Run) -> str:
    return guidance_name(run.weight, run.layers, run.map) if run.weight else VARIANTS["plain"]


def _counts(run: Run) -> Matrix:
    """Return the confusion matrix in the order of CLASSES."""
    order = [run.scores["labels"].index(label) for label in CLASSES]
    return np.array(run.scores["confusion"], float)[np.ix_(order, order)]


def _shares(run: Run) -> Matrix:
    counts = _counts(run)
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


def _long(run: Run) -> pd.DataFrame:
    counts, (names, columns, cosines) = _counts(run), _cosines(run)
    shares = np.ndenumerate(_shares(run))
    rows = [("confusion", CLASSES[i], CLASSES[j], share, f"{counts[i, j]:.0f}") for (i, j), share in shares]
    rows += [("cosine", names[i], columns[j], cosine, "") for (i, j), cosine in np.ndenumerate(cosines)]
    table = pd.DataFrame(rows, columns=["matrix", "row", "column", "value", "images"])
    table.insert(0, "variant", run.variant)
    return table
