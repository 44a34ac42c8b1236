"""Does guidance help, and does it matter whose action units guide? Paired comparisons on the same test faces."""

import argparse
from pathlib import Path

from eval.compare.compare import write_comparison
from eval.records.runs import add_selection, selected
from pipeline.errors import run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare runs with and without AU guidance on the same test faces.")
    add_selection(parser)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    print(write_comparison(selected(arguments), arguments.out))


if __name__ == "__main__":
    run(main)
