"""Fetch and check pretrained weights: `python -m train.weights --need KEY --out FOLDER`."""

import argparse
from pathlib import Path

from pipeline.errors import run
from train.weights.fetch import fetch


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fetch and check pretrained weights.")
    needs = "a key of train/weights/files.yaml or backbone:timm/<name>"
    parser.add_argument("--need", action="append", default=[], help=needs)
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    arguments = parser.parse_args()
    fetch(arguments.need, arguments.out)


if __name__ == "__main__":
    run(main)
