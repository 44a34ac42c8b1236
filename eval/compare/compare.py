"""Does guidance help, and does it matter whose action units guide? Paired comparisons on the same test faces.

Every guided run is compared with the plain run and with every control (the same lambda and layers, another map) of the
same dataset, method, protocol and seed, face by face, as told by the images.csv beside each scores file. A difference
is guided minus the other, in percentage points where the numbers are percent; its 95 % interval is a paired bootstrap
over the test faces, its p value a paired sign-flip permutation test, and `p_holm` is corrected over the table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from au_guidance.expressions import SIX
from eval.compare.pairs import Pair, PerFaceScores, check, load_per_face, pairs
from eval.metrics.baselines import skill
from eval.metrics.inference import Interval, holm, mean, paired_differences, paired_permutations
from eval.records.runs import Run
from eval.tables import layout
from eval.tables.kinds import HEADINGS, MAPS
from pipeline.errors import UserError

MEAN = "mean"
Values = NDArray[np.float64]
LABELS = {
    **{name: HEADINGS[name] for name in ("accuracy", "balanced_accuracy", "cam_cosine", "attention_cosine")},
    "cam_skill": "skill of the CAM",
    "attention_skill": "skill of the attention",
    "cam_retrieval_true": "retrieval by the CAM (%)",
    "attention_retrieval_true": "retrieval by the attention (%)",
}
TITLE = "With AU guidance against without, and against controls, on the same test faces"
PERCENT = {name for name, label in LABELS.items() if "%" in label}
NOTES = (
    "CL is the share of right answers over all seven classes; balanced accuracy its mean over classes. CAM-COS, "
    "ATT-COS (of the deepest guided layer), skill and retrieval are macro means over the six expressions, Neutral "
    "excluded, over the faces that have an AU map. Skill = (cosine − class-agnostic mean) / (1 − class-agnostic mean), "
    "with the class-agnostic mean of these faces held fixed. Retrieval: how often the best match among the six AU maps "
    "of a face is that of its true class; chance is 16.7 %.",
    "against: plain is the run without AU; a control is guided in the same way by another map, so that only a "
    "difference against it shows that the action units of the class matter.",
    "Brackets: 95 % percentile interval of the paired bootstrap over test faces (10,000 resamples, within each class "
    "where the number is a mean over classes). p: two-sided paired sign-flip permutation test (10,000). Both cover the "
    "choice of the faces, not of the seed; ± is the standard deviation of the difference over seeds. The row `mean` "
    "averages each face over the seeds first.",
    "p (Holm): corrected over all rows `mean` (or of the only seed) of this table together; rows of single seeds, "
    "where there are several, are corrected among themselves. Skill is tested with its cosine and counts once.",
)


@dataclass(frozen=True, eq=False)
class PairedTest:
    """One comparison to be made: which row of the table, two numbers (n,) per face, and their classes if it is macro.

    `baseline` is that of the skill, of a cosine that has one.
    """

    row: dict[str, Any]
    before: Values
    after: Values
    classes: NDArray[np.int64] | None
    baseline: float | None


def compare(runs: Sequence[PerFaceScores]) -> pd.DataFrame:
    """Return one row per pair and metric, and one for the mean over seeds where there are several.

    `plain` is the level of the run that is compared against, which `against` names; `guided` that of the guided run.
    """
    together: dict[tuple[str, ...], list[Pair]] = {}
    for against, (before, after) in pairs(runs):
        guidance = layout.guidance_name(after.run.weight, after.run.layers)
        together.setdefault((*after.key[:3], guidance, against), []).append((before, after))
    tests: list[PairedTest] = []
    for (dataset, method, protocol, guidance, against), members in together.items():
        _one_configuration(members)
        start = {"dataset": dataset, "method": method, "protocol": protocol, "guidance": guidance, "against": against}
        cases = [(str(pair[0].run.seed), [pair]) for pair in members] + [(MEAN, members)] * (len(members) > 1)
        for seed, group in cases:
            counts = len(group) == len(members)
            tests += _tests({**start, "seed": seed, "seeds": len(group), "counts": counts}, group)
    return _corrected(_with_spread(pd.DataFrame(_measured(tests)))) if tests else pd.DataFrame()


def _one_configuration(together: Sequence[Pair]) -> None:
    for pair in together[1:]:
        for first, other in zip(together[0], pair, strict=True):
            check(first, other)
            if first.run.scores["settings"] != other.run.scores["settings"]:
                raise UserError(f"{first.run.path} and {other.run.path} come from different configurations")


def _tests(start: dict[str, Any], group: Sequence[Pair]) -> Iterator[PairedTest]:
    """List the tests of the means over seeds of some pairs that differ in their seed only."""
    before, after = group[0]
    layer = after.run.layer
    columns = {"accuracy": "accuracy", "balanced_accuracy": "accuracy"}
    for kind in MAPS:
        columns[f"{kind}_cosine"] = f"attention_cosine_{layer}" if kind == "attention" else "cam_cosine"
        if kind == "cam" or before.run.layer == layer:
            columns[f"{kind}_retrieval_true"] = f"{kind}_retrieval_true"
    for metric, column in columns.items():
        if all(column in run.values for pair in group for run in pair):
            plain, guided = (np.mean([pair[side].values[column] for pair in group], axis=0) for side in (0, 1))
            counted = np.isfinite(plain) & np.isfinite(guided)
            if column != "accuracy":
                counted &= np.isin(before.expressions, SIX)
            classes = None if metric == "accuracy" else before.expressions[counted]
            baseline = after.baselines.get(metric.removesuffix("_cosine"))
            yield PairedTest({**start, "metric": metric}, plain[counted], guided[counted], classes, baseline)


def _measured(tests: Sequence[PairedTest]) -> list[dict[str, Any]]:
    """Make all tests, those of the same classes of faces with the same draws; each cosine is followed by its skill."""
    batches: dict[tuple[int, bytes], list[PairedTest]] = {}
    for test in tests:
        same = b"" if test.classes is None else test.classes.tobytes()
        batches.setdefault((len(test.before), same), []).append(test)
    rows: dict[PairedTest, list[dict[str, Any]]] = {}
    for batch in batches.values():
        before, after = np.stack([test.before for test in batch]), np.stack([test.after for test in batch])
        changes = paired_differences(before, after, groups=batch[0].classes)
        p_values = paired_permutations(before, after, groups=batch[0].classes)
        for test, change, p in zip(batch, changes, p_values, strict=True):
            row = _row(test, change, float(p))
            rows[test] = [row] if test.baseline is None else [row, _skill(row, test.baseline)]
    return [row for test in tests for row in rows[test]]


def _row(test: PairedTest, change: Interval, p: float) -> dict[str, Any]:
    return {
        **test.row,
        "images": change.images,
        "plain": mean(test.before, test.classes),
        "guided": mean(test.after, test.classes),
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "p": p,
    }


def _skill(cosine: dict[str, Any], baseline: float) -> dict[str, Any]:
    """Stretch a row of cosines c to skill: levels to (c - b) / (1 - b), differences by 1 / (1 - b), b the baseline."""
    levels = {name: skill(cosine[name], baseline) for name in ("plain", "guided")}
    changes = {name: cosine[name] / (1 - baseline) for name in ("difference", "low", "high")}
    return {**cosine, **levels, **changes, "metric": cosine["metric"].replace("_cosine", "_skill")}


def _with_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Add seed_sd, to the rows of means: the standard deviation of the difference over seeds."""
    keys = ["dataset", "method", "protocol", "guidance", "against", "metric"]
    single = table[table["seed"] != MEAN].groupby(keys)["difference"].std()
    spreads = [single[tuple(row)] if seed == MEAN else np.nan for seed, *row in table[["seed", *keys]].to_numpy()]
    return table.assign(seed_sd=spreads)


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Add p_holm: over the rows that count, and over the others among themselves; skill takes its cosine's."""
    table = table.assign(p_holm=np.nan)
    own = ~table["metric"].str.endswith("_skill")
    for counts in (True, False):
        rows = table.index[own & (table["counts"] == counts)]
        table.loc[rows, "p_holm"] = holm(table.loc[rows, "p"].to_numpy())
    table["p_holm"] = table["p_holm"].ffill()  # the cosine stands above its skill
    return table.drop(columns="counts")


def digits(metric: str) -> int:
    """Return the number of decimals of a metric in a comparison."""
    return 2 if metric in PERCENT else 3


def shown(row: pd.Series) -> tuple[str, str]:
    """Return both levels as text, and the difference with its interval."""
    places = digits(row["metric"])
    levels = f"{row['plain']:.{places}f} → {row['guided']:.{places}f}"
    change = f"{row['difference']:+.{places}f} [{row['low']:+.{places}f}, {row['high']:+.{places}f}]"
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
        seed = f"mean of {row['seeds']}" if row["seed"] == MEAN else row["seed"]
        spread = "" if pd.isna(row["seed_sd"]) else f"{row['seed_sd']:.{digits(row['metric'])}f}"
        against = layout.CONTROLS.get(row["against"], row["against"])
        lead = [row["dataset"], layout.method_name(row["method"]), row["protocol"], row["guidance"], against, seed]
        numbers = [str(row["images"]), *shown(row), spread, p_text(row["p"]), p_text(row["p_holm"])]
        grid.append([*lead, LABELS[row["metric"]], *numbers])
    return layout.Block("", grid, lead=7)


def write_comparison(runs: Sequence[Run], out: Path) -> str:
    """Write `out`.csv, `out`.md and `out`.tex; return the Markdown."""
    table = compare([load_per_face(run) for run in runs if run.state == "done"])
    if table.empty:
        raise UserError("no guided run has its plain run or a control (same dataset, method, protocol, seed) here")
    return layout.write(out, table, TITLE, [block(table)], NOTES)
