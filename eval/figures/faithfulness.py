"""The curves of faithfulness: the answer's probability as pixels are removed or shown, and maps of random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from eval.figures import style
from eval.records.runs import Run, read_json
from eval.tables.kinds import MAPS
from eval.tables.layout import VARIANTS, method_name
from pipeline.errors import UserError

CURVES = {"deletion": "deletion", "insertion": "insertion", "road": "ROAD"}
DRAWN = {"deletion": ("deletion",), "insertion": ("insertion",), "road": ("road_morf", "road_lerf")}
GAINS = {"deletion_gain": "deletion", "insertion_gain": "insertion", "road": "ROAD"}
Places = Sequence[tuple[str, str, str]]  # dataset, protocol, method
FEW = 6  # methods that have room for curves
DASHES = {"road_lerf": "--"}
KEYS = ["dataset", "protocol", "method", "variant", "guidance", "kind", "measure"]


def draw_faithfulness(runs: Sequence[Run], out: Path) -> None:
    """Draw each variant's curves, averaged over seeds, with CAM and attention side by side; dotted: a random order.

    One method gets a row per measure and a last row with the cascade of random weights. A few methods get a row each,
    with deletion and insertion. Of more methods the gains over a random order are drawn as dots. ROAD is solid with the
    most relevant pixels removed first, and dashed with the least relevant first.
    """
    measured = [run for run in runs if run.state == "done" and run.path.with_name("faithfulness.csv").is_file()]
    if not measured:
        raise UserError("no scores file has a faithfulness.csv beside it; make it with python -m eval.faithfulness")
    table = pd.concat([_table(run) for run in measured], ignore_index=True)
    numbers = table.groupby([*KEYS, "step", "label"], sort=False, dropna=False)[["fraction", "value"]]
    means = numbers.mean().reset_index()
    places = list(dict.fromkeys(zip(means["dataset"], means["protocol"], means["method"], strict=True)))
    handles: dict[str, Any] = {}
    draw = _single if len(places) == 1 else _several if len(places) <= FEW else _gains
    draw(means, places, handles, out)


def _table(run: Run) -> pd.DataFrame:
    path = run.path.with_name("faithfulness.csv")
    curves = pd.read_csv(path)
    missing = {"kind", "measure", "step", "fraction", "value"} - set(curves.columns)
    if missing:
        raise UserError(f"{path} has no column {min(missing)}; make it again with python -m eval.faithfulness")
    stored = read_json(run.path.with_name("faithfulness.json"), "faithfulness file", "python -m eval.faithfulness")
    stages = [
        {"kind": kind, "measure": "randomisation", "step": step, "label": stage["stage"], "value": stage.get(kind)}
        for step, stage in enumerate(stored.get("randomisation", []))
        for kind in MAPS
    ]
    gains = [
        {"kind": kind, "measure": name, "step": 0, "label": "", "value": values.get(name)}
        for kind, values in stored.get("maps", {}).items()
        for name in GAINS
    ]
    joined = pd.concat([curves.assign(label=""), pd.DataFrame(stages), pd.DataFrame(gains)], ignore_index=True)
    guidance = f"{run.weight:g} {run.layers} {run.map}" if run.weight else "plain"
    return joined.assign(guidance=guidance, **{key: getattr(run, key) for key in KEYS[:4]})


def _single(means: pd.DataFrame, places: Places, handles: dict[str, Any], out: Path) -> None:
    measures = [name for name in CURVES if means["measure"].isin(DRAWN[name]).any()]
    stages = list(dict.fromkeys(means.loc[means["measure"] == "randomisation", "label"]))
    rows = len(measures) + bool(stages)
    with style.figure(30 * rows + (14 if stages else 4) + 14) as drawn:
        grid = drawn.subplots(rows, 2, sharey="row", squeeze=False)
        for line, name in zip(grid, measures, strict=False):
            for axes, kind in zip(line, MAPS, strict=True):
                _curves(axes, means[means["kind"] == kind], DRAWN[name], handles)
            line[0].set_ylabel(f"{CURVES[name]}:\nprobability")
            for axes in line:
                axes.set_xlabel("share of pixels " + {"insertion": "shown"}.get(name, "removed"))
        if stages:
            for axes, kind in zip(grid[-1], MAPS, strict=True):
                own = means[(means["kind"] == kind) & (means["measure"] == "randomisation")]
                _cascade(axes, own, stages, handles)
            grid[-1][0].set_ylabel("random weights:\nrank correlation")
        dataset, protocol, method = places[0]
        for axes, name in zip(grid[0], MAPS.values(), strict=True):
            axes.set_title(name)
        lines = "dotted: random order; dashed: least relevant first"
        drawn.suptitle(f"{method_name(method)}, {dataset} ({protocol})\n{lines}", fontsize=7)
        style.legend(drawn, handles, columns=3)
        style.save(drawn, out, means)


def _several(means: pd.DataFrame, places: Places, handles: dict[str, Any], out: Path) -> None:
    columns = [(measure, kind) for measure in ("deletion", "insertion") for kind in MAPS]
    with style.figure(21 * len(places) + 20) as drawn:
        grid = drawn.subplots(len(places), len(columns), sharex=True, sharey=True, squeeze=False)
        for line, ((dataset, protocol, method), own) in zip(grid, style.split(means, *KEYS[:3]), strict=True):
            for axes, (measure, kind) in zip(line, columns, strict=True):
                _curves(axes, own[own["kind"] == kind], (measure,), handles)
            line[0].set_ylabel(f"{method_name(method)}\n{dataset}\n({protocol})")
        for axes, (measure, kind) in zip(grid[0], columns, strict=True):
            axes.set_title(f"{measure},\n{MAPS[kind]}")
        drawn.supxlabel("share of pixels removed or shown (dotted: in random order)", fontsize=7)
        drawn.supylabel("probability of the answer", fontsize=7)
        style.legend(drawn, handles, columns=3, above=True)
        style.save(drawn, out, means)


def _gains(means: pd.DataFrame, places: Places, handles: dict[str, Any], out: Path) -> None:
    """Draw by how much each map orders the pixels better than a random order; right of 0 is better than chance."""
    with style.figure(2 * (4.2 * len(places) + 12) + 16) as drawn:
        grid = drawn.subplots(len(MAPS), len(GAINS), sharey=True, sharex="col", squeeze=False)
        for line, (kind, title) in zip(grid, MAPS.items(), strict=True):
            for axes, (measure, name) in zip(line, GAINS.items(), strict=True):
                axes.axvline(0, color=style.INK, linestyle=":", linewidth=0.8)
                axes.grid(axis="x")
                axes.locator_params(axis="x", nbins=3)
                axes.set_title(f"{title},\n{name}")
                own = means[(means["kind"] == kind) & (means["measure"] == measure)]
                for row in own[own["value"].notna()].to_dict("records"):
                    colour, marker = style.STYLES[row["variant"]]
                    place = places.index((row["dataset"], row["protocol"], row["method"]))
                    dot = axes.plot(row["value"], place, color=colour, marker=marker, linestyle="none")[0]
                    handles.setdefault(VARIANTS[row["variant"]], dot)
        several = len({place[:2] for place in places}) > 1
        names = [method_name(method) + f", {dataset} ({protocol})" * several for dataset, protocol, method in places]
        grid[0][0].set_yticks(range(len(places)), labels=names)
        grid[0][0].set_ylim(len(places) - 0.5, -0.5)
        drawn.supxlabel("gain over a random order of the pixels; right of 0 is better", fontsize=7)
        style.legend(drawn, handles, columns=3, above=True)
        style.save(drawn, out, means)


def _curves(axes: Axes, rows: pd.DataFrame, measures: Sequence[str], handles: dict[str, Any]) -> None:
    axes.grid()
    axes.set_xlim(0, 1)
    axes.locator_params(nbins=3)
    for (variant, _), own in style.split(rows, "variant", "guidance"):
        colour = style.STYLES[variant][0]
        for measure in measures:
            random = own[own["measure"] == f"random_{measure}"]
            axes.plot(random["fraction"], random["value"], color=colour, linestyle=":", linewidth=0.8)
            curve = own[own["measure"] == measure]
            line = axes.plot(curve["fraction"], curve["value"], color=colour, linestyle=DASHES.get(measure, "-"))[0]
            if measure not in DASHES:
                handles.setdefault(VARIANTS[variant], line)


def _cascade(axes: Axes, rows: pd.DataFrame, stages: Sequence[str], handles: dict[str, Any]) -> None:
    axes.grid(axis="y")
    axes.axhline(0, color=style.FAINT, linewidth=0.6)
    for (variant, _), own in style.split(rows[np.isfinite(rows["value"])], "variant", "guidance"):
        colour, marker = style.STYLES[variant]
        line = axes.plot([stages.index(label) for label in own["label"]], own["value"], color=colour, marker=marker)[0]
        handles.setdefault(VARIANTS[variant], line)
    axes.set_xticks(range(len(stages)), labels=stages, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlabel("random down to")
