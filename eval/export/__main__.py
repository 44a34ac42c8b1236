"""Export a checkpoint: an ONNX file, a folder in the layout of the Hugging Face hub."""

import argparse
from pathlib import Path

from eval.export.export import export
from pipeline.errors import run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.export",
        description="Write a checkpoint as an ONNX file, as a folder for the hub, or both.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.safetensors of a run")
    parser.add_argument("--onnx", type=Path, help="ONNX file to write, checked against PyTorch")
    parser.add_argument("--hub", type=Path, help="folder to write in the layout of the Hugging Face hub")
    parser.add_argument(
        "--scores", type=Path, help="scores.json for the model card (default: the one beside the checkpoint)"
    )
    parser.add_argument(
        "--seeds",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="scores.json of other seeds, for the card",
    )
    parser.add_argument("--command", help="what makes the folder again, for the model card")
    arguments = vars(parser.parse_args())
    export(arguments.pop("checkpoint"), **arguments)


if __name__ == "__main__":
    run(main)
