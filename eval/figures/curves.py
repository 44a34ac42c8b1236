"""Figures of sweeps: CL, CAM-COS and ATT-COS by lambda (the paper's Fig. 5) and by guided layers (its Table 3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from eval.figures import style
from eval.records.runs import OWN, Run
from eval.tables.kinds import HEADINGS
from eval.tables.layout import method_name
from eval.tables.pivot import pivot
from pipeline.errors import UserError

METRICS = ("accuracy", "cam_cosine", "attention_cosine")
TICKS = (0, 0.1, 0.5, 1, 2, 4, 7, 10, 15, 20, 30, 50, 100)
Series = dict[str, pd.DataFrame]


def draw_lambda(runs: Sequence[Run], out: Path) -> None:
    """Draw one panel per metric over lambda, on a square-root scale; dashed lines are the runs without AU.

    Bars are standard deviations over seeds; stars are the paper's numbers where they are known.
    """
    table = _table("lambda", runs)
    guided = table[table["weight"] > 0]
    if guided["value"].isna().all():
        raise UserError("the figure lambda needs at least one finished run with AU")
    series = _series(table)
    handles: dict[str, Any] = {}
    with style.figure(34 * len(METRICS) + 8 + 4 * (len(series) // 2)) as drawn:
        grid = drawn.subplots(len(METRICS), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(grid, METRICS, strict=True):
            axes.set_ylabel(HEADINGS[metric])
            axes.grid(axis="y")
            axes.set_xscale("function", functions=(_root, np.square))  # separates 0.01 from 0 as well as 19 from 20
            for number, (name, rows) in enumerate(series.items()):
                _line(axes, rows[rows["metric"] == metric], (number, name), handles)
        ticks = [tick for tick in TICKS if tick <= guided["weight"].max()]
        grid[-1].set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        grid[-1].set_xlim(0, guided["weight"].max() * 1.03)
        grid[-1].set_xlabel("λ, weight of the AU term (square-root scale)")
        style.legend(drawn, handles, columns=2)
        style.save(drawn, out, table)


def _root(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.sqrt(np.maximum(values, 0)))


def _table(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    return pivot(name, [run for run in runs if not run.weight or run.map == OWN])


def _series(table: pd.DataFrame) -> Series:
    """Split a table by dataset, protocol and method; return the parts by a label made of these three."""
    keys = ["dataset", "protocol", "method"]
    places = list(dict.fromkeys(table[keys].itertuples(index=False, name=None)))
    parts = {}
    for dataset, protocol, method in places:
        rows = table[(table["dataset"] == dataset) & (table["protocol"] == protocol) & (table["method"] == method)]
        parts[f"{method_name(method)}, {dataset} ({protocol})"] = rows
    return parts


def _line(axes: Axes, rows: pd.DataFrame, which: tuple[int, str], handles: dict[str, Any]) -> None:
    number, name = which
    look: Any = style.of_line(number)
    colour = look["color"]
    guided = rows[(rows["weight"] > 0) & rows["value"].notna()]
    if not guided.empty:
        bars = axes.errorbar(guided["weight"], guided["value"], guided["sd"].fillna(0), **look)
        handles.setdefault(f"{name}, with AU", bars)
    for _, row in rows[(rows["weight"] == 0) & rows["value"].notna()].iterrows():
        line = axes.axhline(row["value"], color=colour, linestyle="--", linewidth=0.9)
        handles.setdefault(f"{name}, without AU", line)
    for _, row in rows[rows["paper"].notna()].iterrows():
        star = axes.plot(row["weight"], row["paper"], "*", color=colour, markeredgecolor=style.INK, markersize=6)[0]
        handles.setdefault("the paper", star)


def draw_layers(runs: Sequence[Run], out: Path) -> None:
    """Draw one panel per metric and one row per set of guided layers, in the order of Table 3; dashed: without AU.

    Bars are standard deviations over seeds; stars are the paper's numbers where they are known.
    """
    table = _table("table3", runs)
    guided = table[table["weight"] > 0]
    names = list(dict.fromkeys(guided.sort_values(["layers"], key=_paper_order)["layers"]))
    if guided["value"].isna().all():
        raise UserError("the figure layers needs at least one finished run with AU")
    series = _series(table)
    handles: dict[str, Any] = {}
    with style.figure(22 + 5.5 * (len(names) + 1) + 4 * len(series)) as drawn:
        grid = drawn.subplots(1, len(METRICS), sharey=True, squeeze=False)[0]
        for axes, metric in zip(grid, METRICS, strict=True):
            axes.set_xlabel(HEADINGS[metric])
            axes.grid(axis="x")
            axes.locator_params(axis="x", nbins=4)
            for number, (name, rows) in enumerate(series.items()):
                shift = 0.5 * ((number + 0.5) / len(series) - 0.5)
                _dots(axes, rows[rows["metric"] == metric], _positions(names, shift), (number, name), handles)
        grid[0].set_yticks(range(len(names) + 1), labels=["without AU", *names])
        grid[0].set_ylabel("guided layers")
        grid[0].invert_yaxis()
        style.legend(drawn, handles, columns=1)
        style.save(drawn, out, table)


def _paper_order(names: pd.Series) -> pd.Series:
    return names.map(lambda name: (name.count("+"), name))


def _positions(names: Sequence[str], shift: float) -> dict[str, float]:
    return {"": shift, **{name: 1 + row + shift for row, name in enumerate(names)}}


def _dots(
    axes: Axes, rows: pd.DataFrame, positions: Mapping[str, float], which: tuple[int, str], handles: dict[str, Any]
) -> None:
    number, name = which
    look: Any = style.of_line(number)
    colour = look["color"]
    for _, row in rows[rows["value"].notna()].iterrows():
        place = positions[row["layers"] if row["weight"] else ""]
        spread = 0.0 if pd.isna(row["sd"]) else row["sd"]
        bars = axes.errorbar(row["value"], place, xerr=spread, linestyle="none", **look)
        handles.setdefault(name, bars)
        if not row["weight"]:
            axes.axvline(row["value"], color=colour, linestyle="--", linewidth=0.9)
    for _, row in rows[rows["paper"].notna()].iterrows():
        place = positions[row["layers"] if row["weight"] else ""]
        star = axes.plot(row["paper"], place, "*", color=colour, markeredgecolor=style.INK, markersize=6)[0]
        handles.setdefault("the paper", star)
