"""Scores to tables: our numbers, the paper's where they are known, and the differences."""

import argparse
from pathlib import Path

from eval.records.runs import add_selection, selected
from eval.tables.kinds import KINDS
from eval.tables.table import write_table
from pipeline.errors import run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.tables", description="Write scores as a table, beside the paper's numbers."
    )
    parser.add_argument("table", choices=sorted(KINDS), help="which table")
    add_selection(parser)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    write_table(arguments.table, selected(arguments), arguments.out, complete=arguments.grid is None)


if __name__ == "__main__":
    run(main)
