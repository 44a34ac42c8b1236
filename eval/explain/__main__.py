"""Why a network says what it says about any face: `python -m eval.explain PATH... --checkpoint FILE`.

A PATH is an image, a folder, a pattern such as "faces/*.jpg", or a video. Every face gets a label, calibrated
probabilities, its class map and attention as pictures, and the map read in action units, in numbers and words. An image
gives NAME.png, NAME.json and NAME.npz in the folder `--out`; a video gives NAME.csv, a row per frame and face, and
NAME.mp4. `docs/explain.md` describes the files.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from eval.explain import files
from eval.explain.explainer import BATCH, Explainer
from pipeline.errors import UserError, run
from pipeline.storage import images
from train.hardware import claim

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


class Item(NamedTuple):
    """A file to explain, and its name below the folder of results, without suffix."""

    path: Path
    name: str

    @property
    def video(self) -> bool:
        """Whether it is a video by its suffix."""
        return self.path.suffix.lower() in VIDEOS


def items(paths: Sequence[str]) -> list[Item]:
    """List the files that paths, folders and patterns name, in order, each with a name of its own.

    Raises UserError that names a path where there is nothing.
    """
    found: dict[Path, Path] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in (*PICTURES, *VIDEOS)]
            if not inside:
                raise UserError(f"{path} holds no images or videos; they end in {', '.join((*PICTURES, *VIDEOS))}")
            found |= {file: file.relative_to(path) for file in inside}
        elif path.is_file():
            found[path] = Path(path.name)
        else:
            matches = [Path(match) for match in sorted(glob(text, recursive=True)) if Path(match).is_file()]  # noqa: PTH207
            if not matches:
                raise UserError(f"{text} is no image, folder, video or pattern that matches one")
            found |= {file: Path(file.name) for file in matches}
    return _named(found)


def _named(found: dict[Path, Path]) -> list[Item]:
    """Name results after their files; of two with one name, the second keeps its suffix or gets a number."""
    taken: set[str] = set()
    named = []
    for path, below in found.items():
        choices = [below.with_suffix("").as_posix(), below.as_posix()]
        choices += [f"{choices[0]}-{number}" for number in range(2, len(found) + 2)]
        name = next(choice for choice in choices if choice not in taken)
        taken.add(name)
        named.append(Item(path, name))
    return named


def explain(
    paths: Sequence[str], checkpoint: Path, out: Path | None, *, as_json: bool = False, batch: int = BATCH
) -> int:
    """Explain all that the paths name; write to `out` if given, print words or JSON lines; return how many failed.

    A file that cannot be read is named on stderr and passed over. Raises UserError if nothing is there, or the
    checkpoint is no good.
    """
    listed = items(paths)
    failed = 0
    with claim() as device:
        explainer = Explainer(checkpoint, device)
        if not as_json and "temperature" not in explainer.loaded.scores:
            print("this checkpoint has no temperature: its probabilities are not calibrated", file=sys.stderr)
        pictures = [item for item in listed if not item.video]
        failed += _pictures(explainer, pictures, out, as_json=as_json, batch=batch)
        for item in (item for item in listed if item.video):
            from eval.explain import video  # noqa: PLC0415  (few need it)

            if out is None:
                raise UserError(f"{item.path}: a video needs a folder for its results; give --out")
            print(video.explain(explainer, item.path, out / item.name, batch=batch))
    return failed


def _pictures(explainer: Explainer, listed: Sequence[Item], out: Path | None, *, as_json: bool, batch: int) -> int:
    bar = tqdm(total=len(listed), desc="explain", unit="image", disable=None if len(listed) > 1 else True)
    failed = 0
    for start in range(0, len(listed), batch):
        read = list(_read(listed[start : start + batch]))
        failed += len(listed[start : start + batch]) - len(read)
        made = explainer.explain_all((picture for _, picture in read), batch=batch)
        for (item, _), faces in zip(read, made, strict=True):
            if out is not None:
                files.write(out / item.name, str(item.path), faces, explainer.card.heatmap)
            if as_json:
                print(json.dumps(files.document(str(item.path), faces)), flush=True)
            else:
                tqdm.write(said(item, faces), file=sys.stdout)
        bar.update(len(listed[start : start + batch]))
    bar.close()
    return failed


def said(item: Item, faces: Sequence) -> str:
    """Say in words what was found in a picture."""
    if not faces:
        return f"{item.path}: no face found"
    lead = f"{item.path}:" if len(faces) == 1 else f"{item.path}: {len(faces)} faces"
    lines = [lead]
    for number, face in enumerate(faces):
        mark = f"face {number}: " if len(faces) > 1 else ""
        lines += [f"  {mark if not place else ''}{text}" for place, text in enumerate(face.words)]
    return "\n".join(lines)


def _read(listed: Sequence[Item]) -> Iterator[tuple[Item, NDArray[np.uint8]]]:
    for item in listed:
        try:
            yield item, images.read(item.path)
        except images.Unreadable as error:
            print(f"{item.path}: unreadable: {error}", file=sys.stderr)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.explain", description="Explain faces.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="an image, a folder, a pattern or a video")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.safetensors of a run")
    parser.add_argument("--out", type=Path, help="folder for panels, JSON and arrays (default: explained)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per image; files only with --out")
    parser.add_argument("--batch-size", type=int, default=BATCH, help=f"pictures at a time (default: {BATCH})")
    arguments = parser.parse_args()
    out = arguments.out or (None if arguments.json else Path("explained"))
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size is {arguments.batch_size}; it must be at least 1")
    failed = explain(arguments.paths, arguments.checkpoint, out, as_json=arguments.json, batch=arguments.batch_size)
    if out is not None and not arguments.json:
        print(f"panels, JSON and arrays: {out}")
    if failed:
        raise UserError(f"{failed} files could not be read; they are named above")


if __name__ == "__main__":
    run(main)
