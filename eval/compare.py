"""Does guidance help? Runs with AU beside runs without, on the same faces, with intervals.

    python -m eval.compare --predictions FILE... --out tables/guidance

Every guided run is paired with the plain run of the same dataset, method, protocol and seed. A difference is guided
minus plain, in percentage points for the accuracy; its 95 % interval is a paired bootstrap over the test faces.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eval.files import beside
from eval.predictions import Predictions, read
from eval.score import CAM, attention_name, image_cosines
from eval.statistics import mean, paired_difference
from pipeline.errors import UserError, run
from pipeline.expressions import Expression
from pipeline.files import write_text
from train.config import Card, Guidance

MEAN = "mean"
GUIDANCE = {"variant": True, "guidance": {"weight": True, "layers": True, "reduction": True}}
SEED = {"seed": True}
NOTE = (
    "CL is the share of right answers over all seven classes (percent; differences in points); CAM-COS and ATT-COS are "
    "macro means over the six expressions, Neutral excluded, over the faces that have an AU heatmap. Brackets: 95 % "
    "percentile interval of the paired bootstrap over test faces (10,000 resamples, cosines within each class); it "
    "covers the choice of the faces, not of the seed. The row `mean` averages each face over the seeds first."
)
Key = tuple[str, str, str, int]


@dataclass(frozen=True, eq=False)
class Judged:
    """A run's numbers for each test face: whether the answer was right, times 100, and the cosines of its maps."""

    path: Path
    card: Card
    ids: NDArray[np.object_]
    expressions: NDArray[np.int8]
    values: dict[str, NDArray[np.float64]]

    @property
    def key(self) -> Key:
        """What two runs must share to be compared."""
        return self.card.dataset, self.card.method, self.card.protocol, self.card.seed

    @property
    def guidance(self) -> str:
        """The weight and the layers of the AU term, as tables name them."""
        return guidance_name(self.card.guidance.weight, self.card.guidance.layers)


def guidance_name(weight: float, layers: Sequence[int]) -> str:
    """Name a variant for readers: plain, or its lambda and layers."""
    return f"λ {weight:g}, layer {'+'.join(map(str, layers))}" if weight else "plain"


def judge(predictions: Predictions) -> Judged:
    """Work out a run's numbers for each of its test faces."""
    right = 100.0 * (predictions.logits.argmax(axis=1) == predictions.expressions)
    values = {"accuracy": right, **image_cosines(predictions)}
    return Judged(predictions.path, predictions.card, predictions.ids, predictions.expressions, values)


def pairs(runs: Sequence[Judged]) -> list[tuple[Judged, Judged]]:
    """Find the plain run of every guided run; raise UserError if two runs are the same or their faces differ."""
    plain: dict[Key, Judged] = {}
    guided: dict[tuple[Key, Guidance], Judged] = {}
    for one in runs:
        place = (one.key, one.card.guidance)
        twin = guided.get(place) if one.card.guidance.weight else plain.get(one.key)
        if twin:
            raise UserError(f"{one.path} and {twin.path} are the same run; give it once")
        if one.card.guidance.weight:
            guided[place] = one
        else:
            plain[one.key] = one
    places = sorted(guided, key=lambda place: (place[0], place[1].weight, place[1].layers))
    matched = [(plain[key], guided[key, guidance]) for key, guidance in places if key in plain]
    for before, after in matched:
        _check(before, after, may_differ=GUIDANCE)
    return matched


def _check(before: Judged, after: Judged, *, may_differ: dict[str, Any]) -> None:
    if not np.array_equal(before.ids, after.ids):
        raise UserError(f"{before.path} and {after.path} are about different faces; run eval.predict on both again")
    old, new = (one.card.model_dump(exclude=may_differ) for one in (before, after))
    changed = [name for name in old if old[name] != new[name]]
    if changed:
        raise UserError(f"{before.path} and {after.path} differ in {changed[0]}, so they cannot be compared")


def compare(runs: Sequence[Judged]) -> pd.DataFrame:
    """Return one row per pair and metric, and one for the mean over seeds where there are several."""
    together: dict[tuple[str, ...], list[tuple[Judged, Judged]]] = {}
    for before, after in pairs(runs):
        together.setdefault((*before.key[:3], after.guidance), []).append((before, after))
    rows = []
    for (dataset, method, protocol, guidance), found in together.items():
        for pair in found[1:]:
            for first, other in zip(found[0], pair, strict=True):
                _check(first, other, may_differ=SEED)
        cases = [(str(before.card.seed), [(before, after)]) for before, after in found]
        cases += [(MEAN, found)] * (len(found) > 1)
        for seed, group in cases:
            start = {"dataset": dataset, "method": method, "protocol": protocol, "guidance": guidance, "seed": seed}
            rows += [{**start, "seeds": len(group), **row} for row in _differences(group)]
    return pd.DataFrame(rows)


def _differences(group: Sequence[tuple[Judged, Judged]]) -> list[dict[str, str | float]]:
    first, guided = group[0]
    names = ["accuracy", *(attention_name(layer) for layer in guided.card.guidance.layers), CAM]
    rows: list[dict[str, str | float]] = []
    for name in names:
        if any(name not in one.values for pair in group for one in pair):
            continue
        before = np.mean([plain.values[name] for plain, _ in group], axis=0)
        after = np.mean([one.values[name] for _, one in group], axis=0)
        if name == "accuracy":
            counted, classes = np.ones(len(before), bool), None
        else:
            counted = np.isfinite(before) & np.isfinite(after) & (first.expressions != Expression.NEUTRAL)
            classes = first.expressions[counted]
        change = paired_difference(before[counted], after[counted], groups=classes)
        rows.append(
            {
                "metric": name,
                "images": change.images,
                "plain": mean(before[counted], classes),
                "guided": mean(after[counted], classes),
                "difference": change.value,
                "low": change.low,
                "high": change.high,
            }
        )
    return rows


def label(metric: str) -> str:
    """Return the heading of a metric: CL, CAM-COS, or ATT-COS with its layer."""
    known = {"accuracy": "CL (%)", CAM: "CAM-COS"}
    return known.get(metric) or f"ATT-COS, layer {metric.rpartition('_')[2]}"


def shown(row: pd.Series) -> tuple[str, str]:
    """Return plain and guided level as text, and the difference with its interval."""
    digits = 2 if row["metric"] == "accuracy" else 3
    levels = f"{row['plain']:.{digits}f} → {row['guided']:.{digits}f}"
    change = f"{row['difference']:+.{digits}f} [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    return levels, change


def markdown(table: pd.DataFrame) -> str:
    """Set the comparison as a Markdown table with its note."""
    lines = [
        "# With AU guidance against without, on the same test faces",
        "",
        "| dataset | method | protocol | guidance | seed | metric | faces | plain → guided | difference [95 %] |",
        "|---|---|---|---|---|---|---:|---:|---:|",
    ]
    for _, row in table.iterrows():
        levels, change = shown(row)
        seed = f"mean of {row['seeds']}" if row["seed"] == MEAN else row["seed"]
        cells = [row["dataset"], row["method"], row["protocol"], row["guidance"], seed, label(row["metric"])]
        lines.append(f"| {' | '.join(cells)} | {row['images']} | {levels} | {change} |")
    return "\n".join([*lines, "", NOTE, ""])


def write_comparison(files: Sequence[Path], out: Path) -> str:
    """Write `out`.csv and `out`.md; return the Markdown."""
    table = compare([judge(read(path)) for path in files])
    if table.empty:
        raise UserError("no guided run has its plain run (same dataset, method, protocol, seed) among the predictions")
    text = markdown(table)
    write_text(beside(out, ".csv"), table.to_csv(index=False))
    write_text(beside(out, ".md"), text)
    return text


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare runs with and without AU guidance on the same test faces.")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="predictions.h5 of the runs")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv and .md are written")
    arguments = parser.parse_args()
    print(write_comparison(arguments.predictions, arguments.out))


if __name__ == "__main__":
    run(main)
