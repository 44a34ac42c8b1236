"""Train one run: `python -m train run.yaml --out DIR`, or take over the training of another one: `--from DIR`."""

import argparse
from pathlib import Path

from pipeline.errors import run
from train.config import read_card
from train.state import end_with_parent


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train", description="Train one run, or go on with it.")
    parser.add_argument("card", type=Path, help="run.yaml")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint.safetensors, last.safetensors and history.csv"
    )
    parser.add_argument(
        "--end-with-parent", action="store_true", help="stop when the process that started this one dies (Linux)"
    )
    parser.add_argument(
        "--from", type=Path, dest="source", help="folder of a finished run with the same training, to take it over"
    )
    arguments = parser.parse_args()
    if arguments.end_with_parent:
        end_with_parent()
    card = read_card(arguments.card)
    # A wrong card is refused before torch is imported.
    if arguments.source:
        from train.share import share  # noqa: PLC0415

        share(card, arguments.source, arguments.out)
    else:
        from train.loop import train  # noqa: PLC0415

        train(card, arguments.out)


if __name__ == "__main__":
    run(main)
