"""Scores to tables: our numbers, the paper's where they are known, and the differences."""

import argparse
from pathlib import Path

from eval.records.runs import add_selection, refuse_overwriting_runs, selected
from eval.tables.kinds import KINDS
from eval.tables.layout import SUFFIXES
from eval.tables.table import write_table
from pipeline.errors import run
from pipeline.storage.files import beside


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.tables", description="Write scores as a table, beside the paper's numbers."
    )
    parser.add_argument("table", choices=sorted(KINDS), help="which table")
    add_selection(parser)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    runs = selected(arguments)
    refuse_overwriting_runs(arguments, runs, [beside(arguments.out, suffix) for suffix in SUFFIXES])
    write_table(arguments.table, runs, arguments.out, complete=arguments.grid is None)


if __name__ == "__main__":
    run(main)
