"""Explain the faces of images and films: the expression that a network predicts, and where it looked.

Reads a checkpoint of this project. Prints for each face its expression and probability, and the action units on which
its class map and attention lie. photo.jpg gives photo.explained.png, .json and .npz in the folder --out; film.mp4 gives
film.explained.csv, a row per frame and face, and film.explained.mp4. Several files give a table, summary.csv, and a
page, index.html, too. docs/explain.md describes the files.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import cv2
from tqdm import tqdm

from eval.explain import outputs
from eval.explain.explainer import BATCH_SIZE, Explainer
from eval.explain.explanation import Explanation
from eval.explain.inputs import Input, list_inputs
from eval.explain.networks import KINDS, OURS, network_file
from eval.explain.panel import draw_stand_in
from eval.explain.pictures import PictureReader
from eval.explain.summary import PAGE, TABLE, Summary, summarise
from eval.explain.video import explain_video
from pipeline.errors import UserError, run
from pipeline.storage import formats, images
from pipeline.storage.files import refuse_overwriting
from train.hardware import claim

MAX_MEGAPIXELS = images.MAX_PIXELS // 10**6
EXAMPLE = """example:
  python -m eval.explain photo.jpg "more/*.png" film.mp4
  python -m eval.explain photo.jpg --checkpoint results/.../checkpoint.safetensors"""


def explain(
    paths: Sequence[str],
    checkpoint: Path,
    out: Path | None,
    *,
    as_json: bool = False,
    batch_size: int = BATCH_SIZE,
    max_megapixels: int = MAX_MEGAPIXELS,
    whole_image: bool = False,
    with_faces: bool = True,
) -> int:
    """Explain all images and films that the paths name; return how many files failed, in whole or in part.

    Files go to the folder `out`, if one is given; sentences, or JSON lines, to stdout. A file that cannot be read is
    named on stderr, and the others are explained. Results of several files are summed up in a table and a page. No
    result shows a face or its landmarks without `with_faces`. Raises UserError if a path names no file, if a result
    would replace a file that is read, and for a broken checkpoint.
    """
    inputs = list_inputs(paths)
    if out is not None:
        results = (result for source in inputs for result in source.results(out))
        refuse_overwriting([network_file(checkpoint), *(source.path for source in inputs)], results)
    films = {source for source in inputs if source.is_film}
    pictures = [source for source in inputs if source not in films]
    with claim() as device:
        explainer = Explainer(checkpoint, device, whole_image=whole_image)
        for note in explainer.notes if not as_json else ():
            print(note, file=sys.stderr)
        stand_in = None if with_faces else draw_stand_in(str(explainer.alignment["mode"]))
        place = out if len(inputs) > 1 else None
        with summarise(place, explainer.notes, with_faces=with_faces) as summary:
            reader = PictureReader(pictures, max_megapixels * 10**6, summary)
            for source, faces, picture in reader.explained(explainer, batch_size):
                if out is not None:
                    outputs.write_files(out / source.name, str(source.path), faces, picture, stand_in=stand_in)
                summary.add_picture(source, faces)
                _show(source, faces, as_json=as_json)
            n_films = _explain_films(
                explainer,
                [source for source in inputs if source in films],
                out,
                summary,
                batch_size=batch_size,
                max_pixels=reader.max_pixels,
                drawn=with_faces,
                to=sys.stderr if as_json else sys.stdout,
            )
        if place is not None and not as_json:
            print(f"all files in a table and a page: {place / TABLE}, {place / PAGE}")
        return reader.n_failed + n_films


def _show(source: Input, faces: Sequence[Explanation], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(outputs.document(str(source.path), faces)), flush=True)
    else:
        tqdm.write(sentences(source, faces), file=sys.stdout)


def _explain_films(
    explainer: Explainer,
    films: Sequence[Input],
    out: Path | None,
    summary: Summary,
    *,
    batch_size: int,
    max_pixels: int,
    drawn: bool,
    to: TextIO,
) -> int:
    """Explain films and say what became of each; return how many failed, in whole or in part."""
    n_failed, told = 0, set[str]()
    for source in films:
        try:
            if out is None:
                raise UserError(f"{source.path}: a film needs a folder for its results; give --out")
            target = out / source.name
            explained = explain_video(
                explainer, source.path, target, batch_size=batch_size, max_pixels=max_pixels, drawn=drawn
            )
        except (UserError, OSError, cv2.error) as error:
            print(error if isinstance(error, UserError) else f"{source.path}: {error}", file=sys.stderr)
            summary.add_unreadable(source, str(error))
            n_failed += 1
            continue
        summary.add_film(source, explained.n_frames, explained.n_faces, explained.missing)
        files = f"{target}.csv, {target}.mp4" if drawn else f"{target}.csv"
        print(f"{source.path}: {explained.summary()}; {files}", file=to)
        for note in explained.notes:
            if note not in told:
                print(note, file=sys.stderr)
        told |= set(explained.notes)
        n_failed += bool(explained.missing)
    return n_failed


def sentences(source: Input, faces: Sequence[Explanation]) -> str:
    """Describe the faces of an image in sentences."""
    if not faces:
        return f"{source.path}: no face found; if the picture is a face already, try --whole-image"
    lines = [f"{source.path}:" if len(faces) == 1 else f"{source.path}: {len(faces)} faces"]
    for number, face in enumerate(faces, start=1):
        first, *others = face.words
        lines += [f"  face {number}: {first}" if len(faces) > 1 else f"  {first}", *(f"  {text}" for text in others)]
    return "\n".join(lines)


def main() -> None:
    """Read the command line and explain what it names."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file's name need not be text
    arguments = _parse()
    out = arguments.out or (None if arguments.json else Path("explained"))
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size is {arguments.batch_size}; it must be at least 1")
    if arguments.max_megapixels < 1:
        raise UserError(f"--max-megapixels is {arguments.max_megapixels}; it must be at least 1")
    n_failed = explain(
        arguments.paths,
        arguments.checkpoint,
        out,
        as_json=arguments.json,
        batch_size=arguments.batch_size,
        max_megapixels=arguments.max_megapixels,
        whole_image=arguments.whole_image,
        with_faces=not arguments.no_faces,
    )
    if out is not None and not arguments.json:
        print(f"all results: {out}")
    if n_failed:
        raise UserError(f"{n_failed} of the files could not be explained completely; the lines above say why")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.explain",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = f"an image ({formats.ENDINGS}), a folder, a quoted pattern or a film"
    parser.add_argument("paths", nargs="+", metavar="PATH", help=kinds)
    parser.add_argument(
        "--checkpoint", type=Path, default=OURS, metavar="PATH", help=f"{KINDS} (default: models/photographs)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the files (default: explained)")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON per image instead; writes files only with --out"
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="images at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--whole-image", action="store_true", help="take each picture for one face, such as an aligned crop"
    )
    parser.add_argument(
        "--no-faces", action="store_true", help="write maps and numbers, but no face, no landmarks and no film"
    )
    parser.add_argument(
        "--max-megapixels",
        type=int,
        default=MAX_MEGAPIXELS,
        metavar="N",
        help="refuse larger pictures and frames (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
