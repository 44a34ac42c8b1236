"""The reliability diagram: accuracy of the answers of each confidence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from eval.figures import style
from eval.records.runs import Run
from eval.tables.layout import VARIANTS, method_name
from pipeline.errors import UserError

ORIGIN = ("dataset", "protocol", "method", "variant", "weight", "seed")
SHOWN = 5  # faces that a bin needs; the accuracy of fewer is noise


def draw_reliability(runs: Sequence[Run], out: Path) -> None:
    """Draw accuracy over confidence for each run, and below it how many faces are in each bin.

    Below the diagonal a network is overconfident. Bins of fewer than five faces are only in the CSV. The legend gives
    the ECE (see `eval.metrics.calibration`).
    """
    done = [run for run in runs if run.state == "done" and run.scores.get("calibration")]
    if not done:
        raise UserError("no scores file has a calibration; make it again with python -m eval.score")
    origins = [{key: getattr(run, key) for key in ORIGIN} for run in done]
    rows = [
        origin | bin for run, origin in zip(done, origins, strict=True) for bin in run.scores["calibration"]["bins"]
    ]
    handles: dict[str, Any] = {}
    with style.figure(88 + 4 * len(done)) as drawn:
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot([0, 1], [0, 1], color=style.FAINT, linestyle=":", linewidth=0.9)
        for number, run in enumerate(done):
            look = _look(done, number)
            bins = run.scores["calibration"]["bins"]
            handles[_label(done, run)] = _line(above, [values for values in bins if values["images"] >= SHOWN], look)
            edges = [bins[0]["low"], *(values["high"] for values in bins)]
            below.stairs([values["images"] / run.scores["images"] for values in bins], edges, color=look["color"])
        above.set(ylabel="accuracy", ylim=(0, 1))
        above.grid()
        below.set(xlabel="confidence of the answer", ylabel="share of faces", xlim=(0, 1))
        style.legend(drawn, handles, columns=1)
        style.save(drawn, out, pd.DataFrame(rows))


def _line(axes: Axes, bins: Sequence[Mapping[str, float]], look: Any) -> Any:
    return axes.plot([values["confidence"] for values in bins], [values["accuracy"] for values in bins], **look)[0]


def _look(runs: Sequence[Run], number: int) -> dict[str, str]:
    """Return the style of a run's variant, or, where two runs have the same variant, that of its place in the list."""
    variants = [run.variant for run in runs]
    if len(set(variants)) < len(variants):
        return style.of_line(number)
    colour, marker = style.STYLES[variants[number]]
    return {"color": colour, "marker": marker}


def _label(runs: Sequence[Run], run: Run) -> str:
    seeds = len({other.seed for other in runs}) > 1
    start = f"{method_name(run.method)} {VARIANTS[run.variant]}, {run.dataset} ({run.protocol}" + ")" * (not seeds)
    seed = f", seed {run.seed})" if seeds else ""
    return f"{start}{seed}: ECE {run.scores['calibration']['ece']:.3f}"
