"""Figures of sweeps: CL, CAM-COS and ATT-COS by lambda (the paper's Fig. 5) and by guided layers (its Table 3)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from eval.figures import style
from eval.records.runs import OWN, Run, done
from eval.tables.kinds import HEADINGS, measured
from eval.tables.layout import method_name
from eval.tables.pivot import pivot
from pipeline.errors import UserError

METRICS = ("accuracy", "cam_cosine", "attention_cosine")
TICKS = (0, 0.1, 0.5, 1, 2, 4, 7, 10, 15, 20, 30, 50, 100)


def draw_lambda(runs: Sequence[Run], out: Path) -> None:
    """Draw one panel per metric over lambda, on a square-root scale; dashed lines are the runs without AU.

    Bars are standard deviations over seeds. The paper's numbers are stars where they are known, dotted without AU.
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
            # separates 0.01 from 0 as well as 19 from 20
            axes.set_xscale("function", functions=(lambda values: np.sqrt(np.maximum(values, 0)), np.square))
            for number, (name, rows) in enumerate(series.items()):
                _line(axes, rows[rows["metric"] == metric], (number, name), handles)
        ticks = [tick for tick in TICKS if tick <= guided["weight"].max()]
        grid[-1].set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        grid[-1].set_xlim(0, guided["weight"].max() * 1.03)
        grid[-1].set_xlabel("λ, weight of the AU term (square-root scale)")
        style.legend(drawn, handles, columns=2)
        style.save(drawn, out, table)


def _table(name: str, runs: Sequence[Run]) -> pd.DataFrame:
    return pivot(name, [run for run in runs if not run.weight or run.map == OWN])


def _series(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a table by dataset, protocol and method; return the parts by a label made of these three."""
    parts = style.split(table, "dataset", "protocol", "method")
    return {f"{method_name(method)}, {dataset} ({protocol})": rows for (dataset, protocol, method), rows in parts}


def _line(axes: Axes, rows: pd.DataFrame, which: tuple[int, str], handles: dict[str, Any]) -> None:
    number, name = which
    look: Any = style.of_line(number)
    shown = rows[rows["value"].notna()]
    guided = shown[shown["weight"] > 0]
    if not guided.empty:
        bars = axes.errorbar(guided["weight"], guided["value"], guided["sd"].fillna(0), **look)
        handles.setdefault(f"{name}, with AU", bars)
    for value in shown.loc[shown["weight"] == 0, "value"]:
        line = axes.axhline(value, color=look["color"], linestyle="--", linewidth=0.9)
        handles.setdefault(f"{name}, without AU", line)
    for value in rows.loc[(rows["weight"] == 0) & rows["paper"].notna(), "paper"]:
        line = axes.axhline(value, color=style.INK, linestyle=":", linewidth=0.9)
        handles.setdefault("the paper, without AU", line)
    _stars(axes, rows[rows["weight"] > 0], ("weight", "paper"), look["color"], handles)


def _stars(axes: Axes, rows: pd.DataFrame, names: tuple[str, str], colour: str, handles: dict[str, Any]) -> None:
    """Mark the paper's numbers; `names` are the columns of x and y."""
    known = rows[rows["paper"].notna()]
    if not known.empty:
        x, y = (known[name] for name in names)
        stars = axes.plot(x, y, "*", color=colour, markeredgecolor=style.INK, markersize=6)[0]
        handles.setdefault("the paper", stars)


def draw_layers(runs: Sequence[Run], out: Path) -> None:
    """Draw one panel per metric and one row per set of guided layers, in the order of Table 3; dashed: without AU.

    Attention is that of a row's deepest guided layer, so each row has a dashed mark of its own: the same layer without
    AU. Bars are standard deviations over seeds; stars are the paper's numbers where they are known.
    """
    table = _table("table3", runs)
    table["without_au"] = [_without_au(row, runs) for row in table.to_dict("records")]
    guided = table[table["weight"] > 0]
    names = sorted(set(guided["layers"]), key=lambda name: (name.count("+"), name))  # single layers before sets
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
            axes.tick_params(axis="x", rotation=40)
            for number, (name, rows) in enumerate(series.items()):
                own, shift = rows[rows["metric"] == metric], 0.5 * ((number + 0.5) / len(series) - 0.5)
                lines = own["layers"].where(own["weight"] > 0, "").map(["", *names].index)
                _dots(axes, own.assign(place=lines + shift), (number, name), handles)
        grid[0].set_yticks(range(len(names) + 1), labels=["without AU", *names])
        grid[0].set_ylabel("guided layers")
        grid[0].invert_yaxis()
        style.legend(drawn, handles, columns=1)
        style.save(drawn, out, table)


def _without_au(row: dict[Any, Any], runs: Sequence[Run]) -> float | None:
    """Return the number without AU that a row's is compared with, averaged over seeds; None if there is none."""
    place = row["dataset"], row["protocol"], row["method"]
    plain = [run for run in done(runs) if run.place == place and not run.weight]
    if row["metric"] == "attention_cosine":
        layer = max(map(int, row["layers"].split("+")))
        plain = [replace(run, layers=(layer,)) for run in plain]
    known = [value for run in plain if (value := measured(run, "", row["metric"])) is not None]
    return float(np.mean(known)) if known else None


def _dots(axes: Axes, rows: pd.DataFrame, which: tuple[int, str], handles: dict[str, Any]) -> None:
    """Draw numbers (x) at the `place` of their rows (y)."""
    number, name = which
    look: Any = style.of_line(number)
    for row in rows[rows["value"].notna()].fillna({"sd": 0.0}).to_dict("records"):
        bars = axes.errorbar(row["value"], row["place"], xerr=row["sd"], linestyle="none", **look)
        handles.setdefault(name, bars)
        if row["metric"] == "attention_cosine" and not pd.isna(row["without_au"]):
            ends = row["place"] - 0.4, row["place"] + 0.4
            axes.plot([row["without_au"]] * 2, ends, color=look["color"], linestyle="--", linewidth=0.9)
        elif not row["weight"]:
            axes.axvline(row["value"], color=look["color"], linestyle="--", linewidth=0.9)
    _stars(axes, rows, ("paper", "place"), look["color"], handles)
