"""The end of a run of the workflow, for a person: where table and pictures are, and the numbers that matter.

python -m eval.summary RESULTS_DIR
"""

import argparse
from pathlib import Path

import pandas as pd

from eval.compare import MEAN, label, shown
from pipeline.errors import UserError, run


def headline(comparison: pd.DataFrame) -> list[str]:
    """Say what guidance changed: a line per metric, of the mean over seeds where there are several."""
    lines = []
    for keys, rows in comparison.groupby(["dataset", "method", "protocol", "guidance"], sort=False):
        dataset, method, protocol, guidance = keys
        best = rows[rows["seed"] == MEAN] if (rows["seed"] == MEAN).any() else rows
        seeds = f"mean of {best['seeds'].iloc[0]} seeds" if len(best) < len(rows) else f"seed {best['seed'].iloc[0]}"
        lines.append(f"{dataset}, {method}, plain → {guidance} (protocol {protocol}, {seeds}):")
        for _, row in best.iterrows():
            levels, change = shown(row)
            lines.append(f"  {label(row['metric']):<18} {levels:<18} difference {change} on {row['images']} faces")
    return lines


def summary(results: Path) -> str:
    """Return the text: what guidance changed in each experiment, then the paths of tables and pictures."""
    comparisons = sorted((results / "tables").glob("*-guidance.csv"))
    if not comparisons:
        raise UserError(f"{results / 'tables'} holds no *-guidance.csv yet; run the workflow first")
    lines = []
    for path in comparisons:
        lines += [path.name.removesuffix("-guidance.csv"), *headline(pd.read_csv(path, dtype={"seed": str})), ""]
    tables = sorted((results / "tables").glob("*.md"))
    pictures = sorted((results / "figures").rglob("*.png"))
    lines += ["tables (as .csv beside them):", *(f"  {path}" for path in tables)]
    lines += ["pictures:", *(f"  {path}" for path in pictures)]
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Print the headline numbers and where the results are.")
    parser.add_argument("results", type=Path, help="folder with tables/ and figures/")
    print(summary(parser.parse_args().results))


if __name__ == "__main__":
    run(main)
