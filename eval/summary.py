"""The end of a run of the workflow, for a person: the numbers that matter, and where report, tables and pictures are.

python -m eval.summary RESULTS_DIR
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from eval.compare.compare import LABELS, MEAN, shown
from eval.metrics.baselines import BASELINES, PREFIX
from eval.tables.layout import CONTROLS, method_name
from pipeline.errors import UserError, run

FIRST = ("accuracy", "attention_cosine", "cam_cosine", "attention_skill", "attention_retrieval_true")
BRIEF = ("accuracy", "attention_cosine", "attention_retrieval_true")  # of sweeps and controls
MANY = 12  # pictures are not listed one by one
TOLD = ("class_agnostic", "predicted_class_mean", "class_mean")  # baselines


def headline(comparison: pd.DataFrame) -> Iterator[str]:
    """Say what guidance changed, of the mean over seeds where there are several; sweeps and controls in brief."""
    for (dataset, method, protocol), rows in comparison.groupby(["dataset", "method", "protocol"], sort=False):
        best = rows[rows["seed"] == MEAN] if (rows["seed"] == MEAN).any() else rows
        seeds = f"mean of {best['seeds'].iloc[0]} seeds" if len(best) < len(rows) else f"seed {best['seed'].iloc[0]}"
        place, details = f"{dataset}, {method_name(str(method))}", f"(protocol {protocol}, {seeds}):"
        plain, controls = best[best["against"] == "plain"], best[best["against"] != "plain"]
        if plain["guidance"].nunique() > 1:
            yield f"{place}, plain → with AU {details}"
            yield from _brief(plain, "guidance")
        elif not plain.empty:
            yield f"{place}, plain → {plain['guidance'].iloc[0]} {details}"
            for _, row in plain[plain["metric"].isin(FIRST)].iterrows():
                levels, change = shown(row)
                yield f"  {LABELS[row['metric']]:<30} {levels:<18} difference {change} on {row['images']} faces"
        if not controls.empty:
            yield f"{place}, control → {controls['guidance'].iloc[0]} {details}"
            yield from _brief(controls, "against")


def _brief(rows: pd.DataFrame, by: str) -> Iterator[str]:
    for name, brief in rows[rows["metric"].isin(BRIEF)].groupby(by, sort=False):
        changes = "; ".join(f"{LABELS[row['metric']]} {shown(row)[1]}" for _, row in brief.iterrows())
        yield f"  {CONTROLS.get(str(name), name):<20} {changes}"


def baseline_lines(table: pd.DataFrame) -> Iterator[str]:
    """Say which cosines need no network, for every dataset and protocol; predictions are those of guided runs."""
    own = table[(table["kind"] == "attention") & table["value"].notna()]
    for (dataset, protocol), rows in own.groupby(["dataset", "protocol"], sort=False):
        guided = rows[rows["variant"] == "au"]
        values = (guided if len(guided) else rows).groupby("metric")["value"].mean()
        levels = [f"{BASELINES[name].label} {values[PREFIX + name]:.3f}" for name in TOLD if PREFIX + name in values]
        if levels:
            yield f"{dataset} (protocol {protocol}), cosines of maps without a network: {', '.join(levels)}"


def summary(results: Path) -> str:
    """Return the text: what guidance changed in each experiment, then the paths of report, tables and pictures."""
    comparisons = sorted((results / "tables").glob("*-guidance.csv"))
    if not comparisons:
        raise UserError(f"{results / 'tables'} holds no *-guidance.csv yet; run the workflow first")
    lines = []
    for path in comparisons:
        name = path.name.removesuffix("-guidance.csv")
        lines += [name, *headline(pd.read_csv(path, dtype={"seed": str}))]
        baselines = path.with_name(f"{name}-baselines.csv")
        lines += [*(baseline_lines(pd.read_csv(baselines)) if baselines.is_file() else []), ""]
    tables = sorted((results / "tables").glob("*.md"))
    pictures: list[Path | str] = [*sorted((results / "figures").rglob("*.png"))]
    if len(pictures) > MANY:
        pictures = [f"{results / 'figures'}, {len(pictures)} of them"]
    lines += ["tables (as .csv beside them):", *(f"  {path}" for path in tables)]
    lines += ["pictures:", *(f"  {path}" for path in pictures)]
    lines += [f"all of it on one page: {path}" for path in [results / "report.html"] if path.is_file()]
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.summary",
        description="Print the headline numbers of a results folder and where its files are.",
    )
    parser.add_argument("results", type=Path, help="folder with tables/ and figures/, as the workflow writes it")
    print(summary(parser.parse_args().results))


if __name__ == "__main__":
    run(main)
