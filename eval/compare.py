"""Does guidance help, and does it matter whose action units guide? Paired comparisons on the same test faces.

    python -m eval.compare --scores FILE... [--grid grid.json --experiment NAME] [--so-far] --out tables/guidance

Every guided run is compared with the plain run and with every control (the same lambda and layers, another map) of the
same dataset, method, protocol and seed, face by face, as told by the images.csv beside each scores file. A difference
is guided minus the other, in percentage points where the numbers are percent; its 95 % interval is a paired bootstrap
over the test faces, its p value a paired sign-flip permutation test, and `p_holm` is corrected over the table.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval import layout
from eval.files import beside
from eval.kinds import MAPS
from eval.pairs import Judged, Pair, check, judge, pairs
from eval.results import Run, add_selection, selected
from eval.statistics import holm, mean, paired_difference, paired_permutation
from pipeline.errors import UserError, run
from pipeline.expressions import SIX
from pipeline.files import write_text

MEAN = "mean"
LABELS = {
    "accuracy": "CL (%)",
    "balanced_accuracy": "balanced accuracy (%)",
    "cam_cosine": "CAM-COS",
    "attention_cosine": "ATT-COS",
    "cam_skill": "skill of the CAM",
    "attention_skill": "skill of the attention",
    "cam_retrieval_true": "retrieval by the CAM (%)",
    "attention_retrieval_true": "retrieval by the attention (%)",
}
PERCENT = {name for name, label in LABELS.items() if "%" in label}
NOTES = (
    "CL is the share of right answers over all seven classes; balanced accuracy its mean over classes. CAM-COS, "
    "ATT-COS (of the deepest guided layer), skill and retrieval are macro means over the six expressions, Neutral "
    "excluded, over the faces that have an AU map. Skill = (cosine − class-agnostic mean) / (1 − class-agnostic mean), "
    "with the floor of these faces held fixed. Retrieval: how often the best match among the six AU maps of a face is "
    "that of its true class; chance is 16.7 %.",
    "against: plain is the run without AU; a control is guided in the same way by another map, so that only a "
    "difference against it shows that the action units of the class matter.",
    "Brackets: 95 % percentile interval of the paired bootstrap over test faces (10,000 resamples, within each class "
    "where the number is a mean over classes). p: two-sided paired sign-flip permutation test (10,000). Both cover the "
    "choice of the faces, not of the seed; ± is the standard deviation of the difference over seeds. The row `mean` "
    "averages each face over the seeds first.",
    "p (Holm): corrected over all rows `mean` (or of the only seed) of this table together; rows of single seeds, "
    "where there are several, are corrected among themselves. Skill is tested with its cosine and counts once.",
)


def compare(runs: Sequence[Judged]) -> pd.DataFrame:
    """Return one row per pair and metric, and one for the mean over seeds where there are several.

    `plain` is the level of the run that is compared against, which `against` names; `guided` that of the guided run.
    """
    together: dict[tuple[str, ...], list[Pair]] = {}
    for against, (before, after) in pairs(runs):
        guidance = layout.guidance_name(after.run.weight, after.run.layers)
        together.setdefault((*after.key[:3], guidance, against), []).append((before, after))
    rows: list[dict[str, Any]] = []
    for (dataset, method, protocol, guidance, against), found in together.items():
        _one_configuration(found)
        start = {"dataset": dataset, "method": method, "protocol": protocol, "guidance": guidance, "against": against}
        single = [list(_differences([pair])) for pair in found]
        for pair, each in zip(found, single, strict=True):
            rows += [{**start, "seed": str(pair[0].run.seed), "seeds": 1, "counts": len(found) == 1, **r} for r in each]
        if len(found) > 1:
            spread = _spread(single)
            whole = [{**row, "seed_sd": spread.get(row["metric"])} for row in _differences(found)]
            rows += [{**start, "seed": MEAN, "seeds": len(found), "counts": True, **row} for row in whole]
    return _corrected(pd.DataFrame(rows))


def _one_configuration(found: Sequence[Pair]) -> None:
    for pair in found[1:]:
        for first, other in zip(found[0], pair, strict=True):
            check(first, other)
            if first.run.scores["settings"] != other.run.scores["settings"]:
                raise UserError(f"{first.run.path} and {other.run.path} come from different configurations")


def _spread(single: Sequence[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """Return the standard deviation of each metric's difference over seeds."""
    found: dict[str, list[float]] = {}
    for row in (row for rows in single for row in rows):
        found.setdefault(row["metric"], []).append(row["difference"])
    return {name: float(np.std(values, ddof=1)) for name, values in found.items() if len(values) > 1}


def _differences(group: Sequence[Pair]) -> Iterator[dict[str, Any]]:
    """Compare the means over seeds of some pairs that differ in their seed only, metric by metric."""
    before, after = group[0]
    layer = after.run.layer
    yield _row("accuracy", group, name="accuracy", macro=False)
    yield _row("balanced_accuracy", group, name="accuracy", macro=True)
    for kind in MAPS:
        name = f"attention_cosine_{layer}" if kind == "attention" else "cam_cosine"
        if all(name in one.values for pair in group for one in pair):
            cosine = _row(f"{kind}_cosine", group, name=name, macro=True)
            yield cosine
            if kind in after.floors:
                yield _skill(kind, cosine, after.floors[kind])
        name = f"{kind}_retrieval_true"
        if all(name in one.values for pair in group for one in pair) and (kind == "cam" or before.run.layer == layer):
            yield _row(name, group, name=name, macro=True)


def _row(metric: str, group: Sequence[Pair], *, name: str, macro: bool) -> dict[str, Any]:
    first = group[0][0]
    before, after = (np.mean([pair[side].values[name] for pair in group], axis=0) for side in (0, 1))
    counted = np.isfinite(before) & np.isfinite(after)
    if name != "accuracy":
        counted &= np.isin(first.expressions, SIX)
    classes = first.expressions[counted] if macro else None
    before, after = before[counted], after[counted]
    change = paired_difference(before, after, groups=classes)
    return {
        "metric": metric,
        "images": change.images,
        "plain": mean(before, classes),
        "guided": mean(after, classes),
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "p": paired_permutation(before, after, groups=classes),
    }


def _skill(kind: str, cosine: dict[str, Any], floor: float) -> dict[str, Any]:
    """Stretch a row of cosines to skill: levels by (c - floor) / (1 - floor), differences by 1 / (1 - floor)."""
    levels = {name: (cosine[name] - floor) / (1 - floor) for name in ("plain", "guided")}
    changes = {name: cosine[name] / (1 - floor) for name in ("difference", "low", "high")}
    return {**cosine, **levels, **changes, "metric": f"{kind}_skill"}


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Add p_holm: over the rows that count, and over the others among themselves; skill takes its cosine's."""
    if table.empty:
        return table
    table = table.assign(p_holm=np.nan, seed_sd=table.get("seed_sd"))
    own = ~table["metric"].str.endswith("_skill")
    for counts in (True, False):
        rows = table.index[own & (table["counts"] == counts)]
        table.loc[rows, "p_holm"] = holm(table.loc[rows, "p"].to_numpy())
    for row in table.index[~own]:
        table.loc[row, "p_holm"] = table.loc[row - 1, "p_holm"]  # the cosine stands above its skill
    return table.drop(columns="counts")


def shown(row: pd.Series) -> tuple[str, str]:
    """Return both levels as text, and the difference with its interval."""
    digits = 2 if row["metric"] in PERCENT else 3
    levels = f"{row['plain']:.{digits}f} → {row['guided']:.{digits}f}"
    change = f"{row['difference']:+.{digits}f} [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    return levels, change


def p_text(value: float) -> str:
    """Write a p value to three decimals, never as 0."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def block(table: pd.DataFrame) -> layout.Block:
    """Arrange the comparison for readers."""
    grid = [
        ["dataset", "method", "protocol", "AU term", "against", "seed", "metric", "faces", "against → with AU",
         "difference [95 %]", "± seeds", "p", "p (Holm)"]
    ]  # fmt: skip
    for _, row in table.iterrows():
        digits = 2 if row["metric"] in PERCENT else 3
        seed = f"mean of {row['seeds']}" if row["seed"] == MEAN else row["seed"]
        spread = "" if pd.isna(row["seed_sd"]) else f"{row['seed_sd']:.{digits}f}"
        against = layout.CONTROLS.get(row["against"], row["against"])
        lead = [row["dataset"], layout.method_name(row["method"]), row["protocol"], row["guidance"], against, seed]
        numbers = [str(row["images"]), *shown(row), spread, p_text(row["p"]), p_text(row["p_holm"])]
        grid.append([*lead, LABELS[row["metric"]], *numbers])
    return layout.Block("", grid, lead=7)


def write_comparison(runs: Sequence[Run], out: Path) -> str:
    """Write `out`.csv, `out`.md and `out`.tex; return the Markdown."""
    table = compare([judge(one) for one in runs if one.state == "done"])
    if table.empty:
        raise UserError("no guided run has its plain run or a control (same dataset, method, protocol, seed) here")
    title, made = "With AU guidance against without, and against controls, on the same test faces", [block(table)]
    markdown = layout.markdown(title, made, NOTES)
    write_text(beside(out, ".csv"), table.to_csv(index=False))
    write_text(beside(out, ".md"), markdown)
    write_text(beside(out, ".tex"), layout.latex(title, made, NOTES))
    return markdown


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare runs with and without AU guidance on the same test faces.")
    add_selection(parser)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    print(write_comparison(selected(arguments), arguments.out))


if __name__ == "__main__":
    run(main)
