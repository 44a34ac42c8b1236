"""Train one run: `python -m train run.yaml --out DIR`, or take over the training of another one: `--from DIR`."""

import argparse
import os
import sys
from pathlib import Path

from pipeline.errors import run
from train.card.checks import read_card
from train.engine.resume import Stop


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train", description="Train one run, or go on with it.")
    parser.add_argument("card", type=Path, help="run.yaml")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint.safetensors, last.safetensors and history.csv"
    )
    parser.add_argument(
        "--from", type=Path, dest="source", help="folder of a finished run with the same training, to take it over"
    )
    parser.add_argument(
        "--save-minutes", type=float, default=10, help="also save the state within epochs, this often (default: 10)"
    )
    parser.add_argument("--gpus", type=int, default=1, help="train in as many processes, a GPU each (default: 1)")
    arguments = parser.parse_args()
    stop = Stop().listen()
    card = read_card(arguments.card)
    # A wrong card is refused before torch is imported.
    if arguments.source:
        from train.checkpoints.share import share  # noqa: PLC0415

        share(card, arguments.source, arguments.out)
    else:
        if arguments.gpus > 1 and "RANK" not in os.environ:  # this process becomes the one that starts the others
            launch = [
                "-m",
                "torch.distributed.run",
                "--standalone",
                f"--nproc-per-node={arguments.gpus}",
                "-m",
                "train",
            ]
            os.execv(sys.executable, [sys.executable, *launch, *sys.argv[1:]])
        from train.engine.loop import train  # noqa: PLC0415

        if os.environ.get("RANK", "0") != "0":  # of several processes, one speaks
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        train(card, arguments.out, stop=stop, save_minutes=arguments.save_minutes)


if __name__ == "__main__":
    run(main)
