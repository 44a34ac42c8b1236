"""The reliability diagram: how often answers of a given confidence are right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from eval.figures import style as house
from eval.records.runs import Run
from eval.tables.layout import VARIANTS, method_name
from pipeline.errors import UserError

SHOWN = 5  # faces of a bin: what share of fewer is right says nothing


def draw_reliability(runs: Sequence[Run], out: Path) -> None:
    """Draw accuracy over confidence for each run, and below it how many faces are in each bin.

    Below the diagonal a network is surer than it should be. Bins of fewer than five faces are in the numbers only. The
    legend names ECE (see `eval.metrics.calibration`).
    """
    done = [one for one in runs if one.state == "done" and one.scores.get("calibration")]
    if not done:
        raise UserError("no scores file has a calibration; make it again with python -m eval.score")
    rows = [{**_origin(one), **one_bin} for one in done for one_bin in one.scores["calibration"]["bins"]]
    handles: dict[str, Any] = {}
    with house.figure(88 + 4 * len(done)) as drawn:
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot([0, 1], [0, 1], color=house.FAINT, linestyle=":", linewidth=0.9)
        for number, one in enumerate(done):
            style = _style(done, number)
            bins = one.scores["calibration"]["bins"]
            handles[_name(done, one)] = _line(above, [one_bin for one_bin in bins if one_bin["images"] >= SHOWN], style)
            edges = [bins[0]["low"], *(one_bin["high"] for one_bin in bins)]
            below.stairs([one_bin["images"] / one.scores["images"] for one_bin in bins], edges, color=style["color"])
        above.set_ylabel("share of right answers")
        above.set_ylim(0, 1)
        above.grid()
        below.set_ylabel("share of faces")
        below.set_xlabel("confidence of the answer")
        below.set_xlim(0, 1)
        house.legend(drawn, handles, columns=1)
        house.save(drawn, out, pd.DataFrame(rows))


def _line(axes: Axes, bins: Sequence[Mapping[str, float]], style: Any) -> Any:
    return axes.plot([one["confidence"] for one in bins], [one["accuracy"] for one in bins], **style)[0]


def _style(runs: Sequence[Run], number: int) -> dict[str, str]:
    names = [one.variant for one in runs]
    if len(set(names)) == len(names):
        colour, marker = house.STYLES[names[number]]
    else:
        colour, marker = house.COLOURS[number % len(house.COLOURS)], house.MARKERS[number % len(house.MARKERS)]
    return {"color": colour, "marker": marker}


def _name(runs: Sequence[Run], one: Run) -> str:
    seeds = len({other.seed for other in runs}) > 1
    start = f"{method_name(one.method)} {VARIANTS[one.variant]}, {one.dataset} ({one.protocol}" + ")" * (not seeds)
    seed = f", seed {one.seed})" if seeds else ""
    return f"{start}{seed}: ECE {one.scores['calibration']['ece']:.3f}"


def _origin(one: Run) -> dict[str, Any]:
    return {
        "dataset": one.dataset,
        "protocol": one.protocol,
        "method": one.method,
        "variant": one.variant,
        "weight": one.weight,
        "seed": one.seed,
    }
