"""Average maps as a figure: a column per expression, a row per map, one colour scale per kind of map."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from au_guidance.expressions import SIX
from au_guidance.heatmap import CANVAS
from au_guidance.raster import GRID
from eval.figures import style
from pipeline.geometry import template

COLOURS = style.MAP
NOTE = (
    "Mean over the test faces of each true class (their number is above). Rows of one kind share the scale on their "
    "right. ATT: attention, the channel mean of that layer. Rings: eyes, nose and mouth corners of an aligned face."
)
Row = tuple[str, str, Mapping[str, NDArray[np.float32]]]


def draw(out: Path, title: str, rows: Sequence[Row], faces: Mapping[str, int]) -> None:
    """Draw rows (label, kind, maps) of the six expressions as `out`.png, .pdf and .csv; missing kinds are skipped.

    Rows of one kind share one colour scale, from the smallest to the largest value shown. White rings mark eyes, nose
    and mouth corners of an aligned face. The CSV holds means over the cells of a 28x28 grid, one grid line per row.
    """
    rows = [row for row in rows if f"{row[1]}_{SIX[0].label}" in row[2]]
    scales = {kind: _scale([row for row in rows if row[1] == kind]) for _, kind, _ in rows}
    with style.figure(22 + 12.6 * len(rows), tight=True) as drawn:
        drawn.suptitle(fill(title, 66), fontsize=7)
        grid = drawn.subplots(len(rows), len(SIX), squeeze=False)
        for line, (label, kind, maps) in zip(grid, rows, strict=True):
            for axes, expression in zip(line, SIX, strict=True):
                _panel(axes, maps[f"{kind}_{expression.label}"], scales[kind])
            line[0].set_ylabel(label, fontsize=6)
        for axes, expression in zip(grid[0], SIX, strict=True):
            axes.set_title(f"{expression.label}\n({faces[expression.label]})", fontsize=6)
        for kind, scale in scales.items():
            lines = [line for line, row in zip(grid, rows, strict=True) if row[1] == kind]
            bar = style.colour_bar(drawn, [axes for line in lines for axes in line], scale, fraction=0.03, pad=0.01)
            bar.ax.tick_params(labelsize=5.5, length=1.5, pad=1)
        drawn.supxlabel(fill(NOTE, 86), fontsize=5.5)
        style.save(drawn, out, pd.concat(_numbers(rows), ignore_index=True))


def _scale(rows: Sequence[Row]) -> matplotlib.colors.Normalize:
    shown = np.stack([maps[f"{kind}_{expression.label}"] for _, kind, maps in rows for expression in SIX])
    values = shown[np.isfinite(shown)]
    return matplotlib.colors.Normalize(*((values.min(), values.max()) if values.size else (0, 1)))


def _panel(axes: Axes, values: NDArray[np.float32], scale: matplotlib.colors.Normalize) -> None:
    style.clear_ticks(axes)
    if np.isnan(values).all():
        axes.text(0.5, 0.5, "no faces", ha="center", va="center", transform=axes.transAxes, fontsize=6)
        axes.set_box_aspect(1)
        return
    axes.spines[:].set_visible(False)
    axes.imshow(values, cmap=style.MAP, norm=scale, interpolation="nearest")
    points = template(CANVAS)
    axes.scatter(points[:, 0], points[:, 1], s=4, facecolors="none", edgecolors="white", linewidths=0.4)


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
