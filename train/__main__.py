"""Train one run: `python -m train run.yaml --out DIR`, or take over the training of another one: `--from DIR`.

The card is a file, or its content as JSON, as the workflow gives it. `DIR/run.yaml` keeps it beside what was trained.
"""

import argparse
import os
import sys
from pathlib import Path

from pipeline.errors import run
from pipeline.storage.files import refuse_overwriting
from train.card.checks import parse_card, read_card, write_card
from train.card.schema import Card
from train.engine.signals import Stop

WRITTEN = ("checkpoint.safetensors", "last.safetensors", "history.csv")  # and run.yaml, which may be the card itself


def main() -> None:
    """Run the command line."""
    arguments = _parser().parse_args()
    stop = Stop().listen()
    inline, kept = arguments.card.lstrip().startswith("{"), arguments.out / "run.yaml"
    # A wrong card is refused before torch is imported.
    card = parse_card(arguments.card, "card") if inline else read_card(Path(arguments.card))
    refuse_overwriting(_inputs(arguments, card), [arguments.out / name for name in WRITTEN])
    main_process = os.environ.get("RANK", "0") == "0"
    if main_process and (inline or Path(arguments.card).resolve() != kept.resolve()):
        write_card(card, kept)
    if arguments.source:
        from train.checkpoints.checkpoint import share  # noqa: PLC0415

        share(card, arguments.source, arguments.out)
        return
    if arguments.gpus > 1 and "RANK" not in os.environ:
        _become_launcher(arguments.gpus)
    from train.engine.loop import train  # noqa: PLC0415

    if not main_process:  # only the main process prints
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    train(card, arguments.out, stop=stop, save_minutes=arguments.save_minutes)


def _inputs(arguments: argparse.Namespace, card: Card) -> list[Path]:
    """List the files that a training may read: card, weights, and the run that it takes over."""
    weights = [card.model.init, *map(str, card.model.options.values())]
    taken_over = [arguments.source / name for name in WRITTEN] if arguments.source else []
    return [Path(arguments.card), *map(Path, weights), *taken_over]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train one run, or continue it.")
    parser.add_argument("card", help="run.yaml, or its content as JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for run.yaml, both checkpoints and history.csv")
    parser.add_argument("--from", type=Path, dest="source", help="take over a finished run with the same training")
    parser.add_argument("--save-minutes", type=float, default=10, help="save within epochs this often (default: 10)")
    parser.add_argument("--gpus", type=int, default=1, help="train in as many processes, a GPU each (default: 1)")
    return parser


def _become_launcher(processes: int) -> None:
    """Replace this process by torch's launcher, which starts the processes of one training."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", "train", *sys.argv[1:]])


if __name__ == "__main__":
    run(main)
