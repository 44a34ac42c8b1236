"""The style of all figures: for a column of 85 mm, readable in print and without colour vision."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.storage.files import atomic_write, beside, write_text

SUFFIXES = (".png", ".pdf", ".csv")  # of a saved figure
COLUMN, PAGE = 85.0, 174.0  # mm, a column and both columns of most journals
DPI = 300
MAP = "viridis"  # even in lightness, so it reads without colour vision and in grey print
INK, FAINT = "#222222", "#8A8A8A"
# Colours of Okabe and Ito, which differ for all kinds of colour vision; each line has a marker of its own too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*")
STYLES: Mapping[str, tuple[str, str]] = {
    "plain": (INK, "o"),
    "au": ("#0072B2", "s"),
    "shuffled": ("#D55E00", "^"),
    "landmarks": ("#009E73", "D"),
    "uniform": ("#CC79A7", "v"),
    "agnostic": ("#E69F00", "P"),
}  # colour and marker of each variant, the same in all figures
_SETTINGS: Any = {
    "font.size": 7, "axes.titlesize": 7, "axes.labelsize": 7, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5, "axes.linewidth": 0.6, "lines.linewidth": 1.1, "lines.markersize": 3.2,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "text.color": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "legend.frameon": False, "axes.titlepad": 3,
    "grid.color": "#DDDDDD", "grid.linewidth": 0.5, "axes.axisbelow": True, "pdf.fonttype": 42,
    "errorbar.capsize": 1.5,
}  # fmt: skip


def of_line(number: int) -> dict[str, str]:
    """Return the colour and the marker of the n-th line, as keywords of matplotlib."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


@contextmanager
def figure(height: float, *, width: float = COLUMN, tight: bool = False) -> Iterator[Figure]:
    """Give an empty figure in this style, `width` mm wide and `height` mm high; draw and save it inside the block.

    `tight` leaves little room between axes, for pictures side by side.
    """
    spaces = {f"figure.constrained_layout.{name}": 0.01 for name in ("w_pad", "h_pad", "wspace", "hspace")}
    with matplotlib.rc_context(_SETTINGS | spaces if tight else _SETTINGS):
        drawn = Figure(figsize=(width / 25.4, height / 25.4), dpi=DPI, layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn


def save(drawn: Figure, out: Path, table: pd.DataFrame) -> None:
    """Write `out`.png, `out`.pdf and `out`.csv, which holds the numbers drawn; equal figures give equal bytes."""
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")  # laid out once, not for each file
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
        with atomic_write(beside(out, suffix)) as temporary:
            drawn.savefig(temporary, metadata=metadata)
    write_text(beside(out, ".csv"), table.to_csv(index=False))


def limits(maps: Iterable[NDArray[np.floating]]) -> tuple[float, float]:
    """Return the smallest and the largest finite value of some maps; 0 and 1 if there is none."""
    values = np.concatenate([np.zeros(0), *(values[np.isfinite(values)] for values in maps)])
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def split(table: pd.DataFrame, *columns: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Split a table by columns of text, in order of appearance; each part comes with its values of the columns."""
    return [(tuple(map(str, values)), part) for values, part in table.groupby(list(columns), sort=False)]


def colour_bar(drawn: Figure, axes: Sequence[Axes], scale: Any, **options: Any) -> Any:
    """Add a colour bar beside axes that share a scale, with its ends as ticks."""
    mappable = matplotlib.cm.ScalarMappable(norm=scale, cmap=MAP)
    bar = drawn.colorbar(mappable, ax=list(axes), **{"fraction": 0.04, "pad": 0.02, "aspect": 30} | options)
    low, high = float(scale.vmin or 0), float(scale.vmax or 1)
    bar.set_ticks([low, high], labels=[f"{low:.2f}", f"{high:.2f}"])
    bar.outline.set_linewidth(0.4)
    return bar


def legend(drawn: Figure, handles: Mapping[str, Any], columns: int, *, above: bool = False) -> None:
    """Add one legend below all axes, or above them where a shared label is below."""
    drawn.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center" if above else "outside lower center",
        ncols=columns,
        columnspacing=1.2,
        handletextpad=0.5,
    )
