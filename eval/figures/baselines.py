"""The figure of the baselines: cosines without and with AU, and of controls, beside those of the baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from eval.figures import style
from eval.metrics.baselines import BASELINES, PREFIX, SKILL
from eval.records.runs import Run
from eval.tables.kinds import MAPS
from eval.tables.layout import VARIANTS, method_name
from eval.tables.pivot import pivot
from pipeline.errors import UserError

ROW = 3.6  # mm
Items = list[tuple[str, pd.DataFrame]]  # label of a row, and the numbers on it


def draw_baselines(runs: Sequence[Run], out: Path) -> None:
    """Draw cosines as dots, CAM and attention side by side, baselines above and methods below.

    There is a row for each dataset and protocol. A baseline that depends on the network, or on its grid, is a bar from
    its lowest to its highest value. Bars of methods are standard deviations over seeds. Right of the class-agnostic
    mean, a map knows something of the expression.
    """
    table = pivot("baselines", runs)
    table = table[table["metric"].str.startswith(PREFIX) | (table["metric"] == "cosine")]
    if table["value"].isna().all():
        raise UserError("there are no finished runs whose cosines could be drawn")
    parts = style.split(table, "dataset", "protocol")
    items = [_items(part) for _, part in parts]
    handles: dict[str, Any] = {}
    heights = [ROW * (len(BASELINES) + len(rows) + 1) for rows in items]
    with style.figure(sum(heights) + 12 * len(parts) + 12) as drawn:
        grid = drawn.subplots(len(parts), 2, sharex=True, sharey="row", squeeze=False, height_ratios=heights)
        for line, ((dataset, protocol), part), rows in zip(grid, parts, items, strict=True):
            for axes, (kind, name) in zip(line, MAPS.items(), strict=True):
                own = part[part["kind"] == kind]
                _baselines(axes, own[own["metric"] != "cosine"])
                for number, (_, numbers) in enumerate(rows):
                    _levels(axes, numbers[numbers["kind"] == kind], len(BASELINES) + 0.6 + number, handles)
                axes.set_title(f"{name}\n{dataset} ({protocol})")
                axes.grid(axis="x")
            labels = [*(baseline.label for baseline in BASELINES.values()), *(label for label, _ in rows)]
            positions = [*range(len(BASELINES)), *(len(BASELINES) + 0.6 + number for number in range(len(rows)))]
            line[0].set_yticks(positions, labels=labels)
            line[0].set_ylim(positions[-1] + 0.7, -0.7)
        drawn.supxlabel("cosine with the AU map; dotted: class-agnostic mean", fontsize=7)
        style.legend(drawn, handles, columns=3, above=True)
        style.save(drawn, out, table)


def _items(part: pd.DataFrame) -> Items:
    """Put a method on a row; where there is only one, each of its variants."""
    cosines = part[part["metric"] == "cosine"]
    if cosines["method"].nunique() > 1:
        return [(method_name(method), rows) for (method,), rows in style.split(cosines, "method")]
    several = cosines.loc[cosines["variant"] == "au", "guidance"].nunique() > 1
    return [
        (guidance if several and variant == "au" else VARIANTS[variant], rows)
        for (variant, guidance), rows in style.split(cosines, "variant", "guidance")
    ]


def _baselines(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhspan(-1, len(BASELINES) - 0.2, color="#F1F1F1", linewidth=0)
    for number, name in enumerate(BASELINES):
        values = rows.loc[rows["metric"] == f"{PREFIX}{name}", "value"].dropna()
        if values.empty:
            continue
        axes.plot([values.min(), values.max()], [number, number], color=style.FAINT, linewidth=2.5)
        axes.plot(values.mean(), number, "|", color=style.INK, markersize=6)
        if name == SKILL:
            axes.axvline(values.mean(), color=style.INK, linestyle=":", linewidth=0.8)


def _levels(axes: Axes, rows: pd.DataFrame, position: float, handles: dict[str, Any]) -> None:
    for row in rows[rows["value"].notna()].fillna({"sd": 0.0}).to_dict("records"):
        colour, marker = style.STYLES[row["variant"]]
        bars = axes.errorbar(row["value"], position, xerr=row["sd"], color=colour, marker=marker, linestyle="none")
        handles.setdefault(VARIANTS[row["variant"]], bars)
