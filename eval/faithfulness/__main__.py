"""Checkpoint to faithfulness: whether the network uses what its maps show."""

import argparse
from pathlib import Path

from eval.faithfulness.measure import faithfulness
from pipeline.errors import run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.faithfulness",
        description="Read a checkpoint and the prepared faces of its dataset; measure whether the network uses what "
        "its maps show: deletion, insertion, ROAD, AU regions, random weights.",
    )
    parser.add_argument("path", metavar="checkpoint", type=Path, help="checkpoint.safetensors of a run")
    parser.add_argument("--out", type=Path, required=True, help="faithfulness.json to write; curves beside as .csv")
    parser.add_argument(
        "--images", type=int, default=256, help="test faces to measure, evenly from all classes; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample and what is random; default: %(default)s")
    parser.add_argument("--data", type=Path, help="folder of the prepared dataset; default: that of the card")
    parser.add_argument("--batch-size", type=int, default=32, help="faces per forward pass; default: %(default)s")
    faithfulness(**vars(parser.parse_args()))


if __name__ == "__main__":
    run(main)
