"""Does guidance help, and does it matter whose action units guide? Paired comparisons on the same test faces."""

import argparse
from pathlib import Path

from eval.compare.compare import write_comparison
from eval.records.runs import add_selection, refuse_overwriting_runs, selected
from eval.tables.layout import SUFFIXES
from pipeline.errors import run
from pipeline.storage.files import beside


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.compare",
        description="Compare guided runs with plain runs and controls on the same test faces, by the images.csv "
        "beside each scores file. Writes the table and prints it.",
    )
    add_selection(parser)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    runs = selected(arguments)
    refuse_overwriting_runs(arguments, runs, [beside(arguments.out, suffix) for suffix in SUFFIXES])
    print(write_comparison(runs, arguments.out))


if __name__ == "__main__":
    run(main)
