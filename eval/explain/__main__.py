"""Explain the faces of images and videos: the expression that a network predicts, and where it looked.

Reads a checkpoint of this project. Prints for each face its expression and probability, and the action units on which
its class map and attention lie. An image gives NAME.png, NAME.json and NAME.npz in the folder --out; a video gives
NAME.csv, a row per frame and face, and NAME.mp4. docs/explain.md describes the files.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from pathlib import Path

from tqdm import tqdm

from eval.explain import outputs
from eval.explain.explainer import BATCH_SIZE, Explainer
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.inputs import Input, list_inputs
from eval.explain.video import explain_video
from pipeline.errors import UserError, run
from pipeline.storage import formats, images
from train.hardware import claim

EXAMPLE = """example:
  python -m eval.explain photo.jpg "more/*.png" film.mp4 --checkpoint results/.../checkpoint.safetensors"""


def explain(
    paths: Sequence[str], checkpoint: Path, out: Path | None, *, as_json: bool = False, batch_size: int = BATCH_SIZE
) -> int:
    """Explain all images and videos that the paths name; return how many images could not be read.

    Files go to the folder `out`, if one is given; sentences, or JSON lines, to stdout. An unreadable image is named on
    stderr and left out. Raises UserError if a path names no file, for a broken video and for a broken checkpoint.
    """
    inputs = list_inputs(paths)
    pictures = [source for source in inputs if not source.is_video]
    with claim() as device:
        explainer = Explainer(checkpoint, device)
        if not as_json and "temperature" not in explainer.loaded.scores:
            print("this checkpoint has no temperature: its probabilities are not calibrated", file=sys.stderr)
        n_explained = _explain_images(explainer, pictures, out, as_json=as_json, batch_size=batch_size)
        for source in inputs:
            if source.is_video:
                if out is None:
                    raise UserError(f"{source.path}: a video needs a folder for its results; give --out")
                print(explain_video(explainer, source.path, out / source.name, batch_size=batch_size))
    return len(pictures) - n_explained


def sentences(source: Input, faces: Sequence[Explanation]) -> str:
    """Describe the faces of an image in sentences."""
    if not faces:
        return f"{source.path}: no face found"
    lines = [f"{source.path}:" if len(faces) == 1 else f"{source.path}: {len(faces)} faces"]
    for number, face in enumerate(faces, start=1):
        first, *others = face.words
        lines += [f"  face {number}: {first}" if len(faces) > 1 else f"  {first}", *(f"  {text}" for text in others)]
    return "\n".join(lines)


def _explain_images(
    explainer: Explainer, inputs: Sequence[Input], out: Path | None, *, as_json: bool, batch_size: int
) -> int:
    """Explain the images that can be read; return how many."""
    n_explained = 0
    bar = tqdm(inputs, desc="explain", unit="image", disable=None if len(inputs) > 1 else True)
    ahead, readable = tee(_read_images(bar))  # the explainer reads a batch ahead
    explanations = explainer.explain_all((image for _, image in ahead), batch_size=batch_size)
    for (source, picture), faces in zip(readable, explanations, strict=True):
        if out is not None:
            outputs.write_files(out / source.name, str(source.path), faces, picture)
        if as_json:
            print(json.dumps(outputs.document(str(source.path), faces)), flush=True)
        else:
            tqdm.write(sentences(source, faces), file=sys.stdout)
        n_explained += 1
    return n_explained


def _read_images(inputs: Iterable[Input]) -> Iterator[tuple[Input, RGBImage]]:
    for source in inputs:
        try:
            yield source, images.read(source.path)
        except images.Unreadable as error:
            print(f"{source.path}: unreadable: {error}", file=sys.stderr)


def main() -> None:
    """Read the command line and explain what it names."""
    arguments = _parse()
    out = arguments.out or (None if arguments.json else Path("explained"))
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size is {arguments.batch_size}; it must be at least 1")
    settings = {"as_json": arguments.json, "batch_size": arguments.batch_size}
    unreadable = explain(arguments.paths, arguments.checkpoint, out, **settings)
    if out is not None and not arguments.json:
        print(f"panels, JSON and arrays: {out}")
    if unreadable:
        raise UserError(f"{unreadable} files could not be read; they are named above")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.explain",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = f"an image ({formats.ENDINGS}), a folder, a quoted pattern or a video"
    parser.add_argument("paths", nargs="+", metavar="PATH", help=kinds)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help="checkpoint.safetensors of a run"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the files (default: explained)")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON per image instead; writes files only with --out"
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="images at a time (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
