"""Average maps as a picture: expressions in columns, kinds of map in rows, one scale for all maps of a kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.action_units import CANVAS
from pipeline.expressions import SIX
from pipeline.files import whole
from pipeline.geometry import template

COLOURS = "viridis"  # even in lightness, so it reads without colour vision and in grey print
NOTE = (
    "mean over the test faces of each true class; rows of one kind share the scale at their right; "
    "rings: eyes, nose and mouth corners of an aligned face"
)
Row = tuple[str, str, Mapping[str, NDArray[np.float32]]]


def draw(path: Path, title: str, rows: Sequence[Row], faces: Mapping[str, int]) -> None:
    """Draw rows (label, kind, maps) of the six expressions as a PNG; kinds without maps are left out.

    Rows of one kind share one colour scale, from the smallest to the largest value shown. White rings mark where eyes,
    nose and mouth corners are in an aligned face.
    """
    rows = [row for row in rows if f"{row[1]}_{SIX[0].label}" in row[2]]
    scales = {kind: _scale([row for row in rows if row[1] == kind]) for _, kind, _ in rows}
    figure = Figure(figsize=(10.2, 1.0 + 1.55 * len(rows)), dpi=120, layout="compressed")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(len(rows), len(SIX), squeeze=False)
    for line, (label, kind, maps) in zip(grid, rows, strict=True):
        for axes, expression in zip(line, SIX, strict=True):
            _panel(axes, maps[f"{kind}_{expression.label}"], scales[kind])
        line[0].set_ylabel(label, fontsize=9)
    for axes, expression in zip(grid[0], SIX, strict=True):
        axes.set_title(f"{expression.label}\n({faces[expression.label]} faces)", fontsize=9)
    for kind, scale in scales.items():
        _colour_bar(figure, [line for line, row in zip(grid, rows, strict=True) if row[1] == kind], scale)
    figure.supxlabel(NOTE, fontsize=8)
    with whole(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def _scale(rows: Sequence[Row]) -> matplotlib.colors.Normalize:
    shown = np.stack([maps[f"{kind}_{expression.label}"] for _, kind, maps in rows for expression in SIX])
    values = shown[np.isfinite(shown)]
    return matplotlib.colors.Normalize(*((values.min(), values.max()) if values.size else (0, 1)))


def _panel(axes: Axes, values: NDArray[np.float32], scale: matplotlib.colors.Normalize) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if np.isnan(values).all():
        axes.text(0.5, 0.5, "no faces", ha="center", va="center", transform=axes.transAxes, fontsize=8)
        axes.set_box_aspect(1)
        return
    axes.imshow(values, cmap=COLOURS, norm=scale, interpolation="nearest")
    points = template(CANVAS)
    axes.scatter(points[:, 0], points[:, 1], s=9, facecolors="none", edgecolors="white", linewidths=0.6)


def _colour_bar(figure: Figure, lines: Sequence[NDArray[np.object_]], scale: matplotlib.colors.Normalize) -> None:
    mappable = matplotlib.cm.ScalarMappable(norm=scale, cmap=COLOURS)
    bar = figure.colorbar(mappable, ax=[axes for line in lines for axes in line], fraction=0.02, pad=0.01)
    low, high = float(scale.vmin or 0), float(scale.vmax or 1)
    bar.set_ticks([low, high], labels=[f"{low:.2f}", f"{high:.2f}"])
    bar.ax.tick_params(labelsize=8)
