"""Write a dataset of drawn faces: `python -m pipeline.synthetic --out DIR --identities-train 8 --identities-test 2`."""

import argparse
from pathlib import Path

from pipeline.errors import run
from pipeline.synthetic.generate import generate


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.synthetic",
        description="Draw faces with known landmarks and action units; write images/*.jpg and truth.csv.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier dataset in it is replaced")
    parser.add_argument("--identities-train", type=int, required=True, help="people in the training split")
    parser.add_argument("--identities-test", type=int, required=True, help="people in the test split")
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other people (default: %(default)s)")
    parser.add_argument("--per-class", type=int, default=1, help="images of each expression (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="number of processes (default: %(default)s)")
    arguments = vars(parser.parse_args())
    generate(arguments.pop("out"), **arguments)


if __name__ == "__main__":
    run(main)
