"""All results on one page that opens from disk.

    python -m eval.report --grid results/grid.json --results results --out results/report.html

The page contains its pictures and needs no other file and no network. It shows the results that exist, and marks runs
that are pending or of another configuration, whose numbers it does not show.
"""

import argparse
from pathlib import Path

from eval.report.page import build_page
from pipeline.errors import UserError, run
from pipeline.storage.files import refuse_overwriting, write_text


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.report", description="Write all results as one HTML page.")
    parser.add_argument("--grid", type=Path, required=True, help="grid.json of python -m workflow.config --grid")
    parser.add_argument("--results", type=Path, required=True, help="folder with runs/, tables/, figures/ and data/")
    parser.add_argument("--out", type=Path, required=True, help="the page to write")
    arguments = parser.parse_args()
    if not arguments.results.is_dir():
        raise UserError(f"{arguments.results} is not a folder; give the folder of the results")
    # An earlier page may lie among the results.
    among = [] if arguments.out.suffix.lower() == ".html" else [arguments.results]
    refuse_overwriting([arguments.grid, *among], [arguments.out])
    page = build_page(arguments.grid, arguments.results)
    write_text(arguments.out, page)
    print(f"{arguments.out}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
