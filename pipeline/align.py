"""Second stage: find the face of each image, turn it upright and cut it out.

    python -m pipeline.align index.csv --root datasets/RAF-DB --shard 0 --out faces/0.h5 --detector blaze

A similarity maps five points to a template. If no face is found, the dataset's box is cut out; without a box, the whole
image. The column `status` says which: ok, several (faces; this one fits best), box_fallback, whole_image, unreadable.
`matrix` always maps the image to the crop: its inverse maps results on a crop, such as an attention map, back to the
original image.

`--mode face` shows the whole face with the chin, `--mode corrected` the published window, which ends above it. Both
keep pixel centres when they scale the template, so that crops of all sizes show the same window, shrink without
skipping pixels, and keep the aspect ratio of boxes and images, on black. `--mode published` repeats the published code
(which used size 224 and quality 75): the template times size / 112, plain bilinear sampling, boxes in whole pixels, and
images stretched to the square with Lanczos.

Beside each crop the shard holds its view, a wider cut of the same image, in which extractors place the landmarks.
"""

import argparse
import csv
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline import plugins
from pipeline.crop import Crop, crop_face
from pipeline.errors import UserError, run
from pipeline.geometry import MODES, Image, Points, transform
from pipeline.index import FIRST, SHAPES, VOTES, read_samples, shard_count
from pipeline.storage import images, shards
from pipeline.storage.files import refuse_overwriting, verify_checksum
from pipeline.types import Detection, Sample

SMALLEST = 64  # side of a crop, pixels
VIEW_QUALITY = 85  # of JPEG at most; landmarks need no more, and half the space of 95
log = logging.getLogger(__name__)


class PackedCrop(NamedTuple):
    """A crop without its pictures, and the bytes of the files that hold them."""

    crop: Crop
    image: NDArray[np.uint8]
    view: NDArray[np.uint8]


Detect = Callable[[Image, Sample], Detection | None]


def align_shard(
    index: Path,
    root: Path,
    shard: int,
    out: Path,
    *,
    detector: str,
    size: int,
    quality: int | None,
    mode: str,
    max_megapixels: float = images.MAX_PIXELS / 1e6,
    source: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Counter[str]:
    """Write the faces of one shard of an index; return how many have each status.

    `quality` is that of JPEG; None stores the pixels unchanged, which takes thirteen times the space. Pictures of more
    than `max_megapixels` count as unreadable. `source` is needed if its images are no files of their own. `options` are
    the detector's. Raises UserError on a value out of range, a wrong option, a damaged index and a missing folder.
    """
    count = shard_count(index)
    _check(root, shard, count, size=size, quality=quality, mode=mode)
    own = out.is_file() and verify_checksum(out) is not None  # an earlier shard, should it lie in the dataset's folder
    refuse_overwriting([index] if own else [index, root], [out])
    cv2.setNumThreads(1)  # shards run in parallel instead
    plugin = plugins.load("pipeline.detectors", detector)
    plugins.check_options(f"the detector {detector!r}", plugin.detect, options or {})
    detect = partial(plugin.detect, **(options or {}))
    rows = read_samples(index, shard)
    read = image_reader(root, source, int(max_megapixels * 1e6))
    crops = [
        _pack(_read_and_align(read, sample, detect, size=size, mode=mode), quality)
        for sample in tqdm(rows, desc=f"shard {shard}", unit="face", disable=None)
    ]
    columns = _columns(rows, crops, _header(index))
    said = json.dumps(dict(options or {}), sort_keys=True)
    shards.write(out, columns, of=count, size=size, detector=detector, detector_options=said, mode=mode)
    return Counter(face.crop.status for face in crops)


def align(image: Image, sample: Sample, detect: Detect, *, size: int, mode: str) -> Crop:
    """Find the face of a dataset's image (h, w, 3) and cut it out, see `crop_face`."""
    return crop_face(image, detect(image, sample), sample.box, size=size, mode=mode)


def _check(root: Path, shard: int, count: int, *, size: int, quality: int | None, mode: str) -> None:
    if not root.is_dir():
        raise UserError(f"--root: there is no folder {root}; name the folder that the index was built from")
    if not 0 <= shard < count:
        raise UserError(f"--shard: there is no shard {shard}; the index has 0 to {count - 1}")
    if size < SMALLEST:
        raise UserError(f"--size: {size} is too small; a face needs at least {SMALLEST} pixels")
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"--quality: {quality} is no JPEG quality; choose 1 to 100, or raw")
    if mode not in MODES:
        raise UserError(f"--mode: there is no mode {mode!r}; choose one of: {', '.join(MODES)}")


def image_reader(root: Path, source: str | None, max_pixels: int) -> Callable[[str], Image]:
    """Return the function that reads the image of a sample's path, as its source does or from its file.

    It raises `pipeline.storage.images.Unreadable` if there is no image.
    """
    own = getattr(plugins.load("pipeline.sources", source), "read_image", None) if source else None

    def read(path: str) -> Image:
        image = own(root, path) if own else None
        return images.read(root / path, max_pixels) if image is None else image

    return read


def _read_and_align(read: Callable[[str], Image], sample: Sample, detect: Detect, *, size: int, mode: str) -> Crop:
    try:
        image = read(sample.path)
    except images.Unreadable as error:
        log.warning("unreadable: %s: %s", sample.path, error)
        return Crop("unreadable")
    return align(image, sample, detect, size=size, mode=mode)


def _pack(crop: Crop, quality: int | None) -> PackedCrop:
    """Encode the pixels of a crop and its view as files: a shard of AffectNet would not fit into memory."""
    nothing = np.zeros(0, np.uint8)
    image = nothing if crop.image is None else images.encode(crop.image, quality)
    lower = None if quality is None else min(quality, VIEW_QUALITY)
    view = nothing if crop.view is None else images.encode(crop.view, lower)
    return PackedCrop(replace(crop, image=None, view=None), image, view)


def _header(index: Path) -> list[str]:
    """List the columns of the index: every shard has all its attributes, and votes if the index has them."""
    with index.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _columns(rows: Sequence[Sample], packed: Sequence[PackedCrop], header: Sequence[str]) -> dict[str, NDArray[Any]]:
    count, crops = len(rows), [face.crop for face in packed]
    matrices = [np.full((2, 3), np.nan) if crop.matrix is None else crop.matrix for crop in crops]
    boxes = [np.full(4, np.nan) if crop.box is None else crop.box for crop in crops]
    own = [_source_landmarks(sample, crop) for sample, crop in zip(rows, crops, strict=True)]
    names = [name for name in header if name not in (*FIRST, *SHAPES)]
    votes = {VOTES: np.array([_votes(sample) for sample in rows], np.float32).reshape(count, *SHAPES[VOTES])}
    return {
        "id": np.array([sample.id for sample in rows], object),
        "expression": np.array([sample.expression for sample in rows], np.int8),
        "split": np.array([sample.split for sample in rows], object),
        "identity": np.array([sample.identity or "" for sample in rows], object),
        **{f"attribute_{name}": np.array([row.attributes.get(name, "") for row in rows], object) for name in names},
        **(votes if VOTES in header else {}),
        "status": np.array([crop.status for crop in crops], object),
        "step": np.array([crop.step for crop in crops], object),
        "score": np.array([crop.score for crop in crops], np.float32),
        **_files("", [face.image for face in packed]),
        **_files("view_", [face.view for face in packed]),
        "box": np.array(boxes, np.float32).reshape(count, 4),
        "matrix": np.array(matrices, np.float64).reshape(count, 2, 3),
        "source_landmarks": np.array(own, np.float32).reshape(count, 68, 2),
    }


def _files(prefix: str, files: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
    """Join the bytes of files to one column, and note in another where each begins."""
    return {
        f"{prefix}jpeg": np.concatenate([np.zeros(0, np.uint8), *files]),
        f"{prefix}offset": np.cumsum([0, *map(len, files)], dtype=np.int64),
    }


def _source_landmarks(sample: Sample, crop: Crop) -> Points:
    if sample.landmarks is None or crop.matrix is None or not np.isfinite(sample.landmarks).all():
        return np.full((68, 2), np.nan)
    return transform(crop.matrix, sample.landmarks)


def _votes(sample: Sample) -> NDArray[np.float64]:
    return np.full(SHAPES[VOTES], np.nan) if sample.votes is None else sample.votes


def _quality(text: str) -> int | None:
    return None if text == "raw" else int(text)


def main() -> None:
    """Read the command line, align one shard, print how many faces have each status."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.align",
        description="Read the images of one shard of an index; write the face shard, one upright crop per image.",
    )
    parser.add_argument("index", type=Path, help="index.csv of the dataset")
    parser.add_argument("--root", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--source", help="source of the dataset; needed if its images are no files of their own")
    parser.add_argument("--shard", type=int, required=True, help="which shard of the index")
    parser.add_argument("--out", type=Path, required=True, help="face shard to write, faces/<k>.h5")
    parser.add_argument("--detector", required=True, help=f"one of: {', '.join(plugins.names('pipeline.detectors'))}")
    parser.add_argument("--size", type=int, default=256, help="side of a crop, pixels (default: %(default)s)")
    quality = "JPEG quality of the crops, 1 to 100, or raw (default: %(default)s)"
    parser.add_argument("--quality", type=_quality, default=95, help=quality)
    largest = "larger pictures count as unreadable (default: %(default)g)"
    parser.add_argument("--max-megapixels", type=float, default=images.MAX_PIXELS / 1e6, help=largest)
    parser.add_argument(
        "--mode", choices=MODES, default=MODES[0], help="rules of the crop, see the module (default: %(default)s)"
    )
    options = "option of the detector, repeatable (default: none)"
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=options)
    arguments = vars(parser.parse_args())
    arguments["options"] = plugins.parse_options(arguments.pop("option"))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    counts = align_shard(arguments.pop("index"), arguments.pop("root"), arguments.pop("shard"), **arguments)
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no images in this shard")


if __name__ == "__main__":
    run(main)
