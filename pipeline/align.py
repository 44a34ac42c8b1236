"""Second stage: find the face of each image, turn it upright and cut it out.

    python -m pipeline.align index.csv --root datasets/RAF-DB --shard 0 --out faces/0.h5 --detector dlib

A similarity maps five points to a template. If no face is found, the dataset's box is cut out; without a box, the whole
image. The column `status` says which: ok, several (faces; this one fits best), box_fallback, whole_image, unreadable.
`matrix` always maps the image to the crop: its inverse maps results on a crop, such as an attention map, back to the
original image.

`--mode corrected` keeps pixel centres when it scales the template, so that crops of all sizes show the same window,
shrinks without skipping pixels, and keeps the aspect ratio of boxes and images, on black. `--mode published` repeats
the published code (which used size 224 and quality 75): the template times size / 112, plain bilinear sampling, boxes
in whole pixels, and images stretched to the square with Lanczos.
"""

import argparse
import csv
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from tqdm import tqdm

from pipeline import plugins
from pipeline.errors import UserError, run
from pipeline.geometry import Image, Points, face_box, similarity, template, transform, transform_box, warp
from pipeline.index import FIRST, SHAPES, VOTES, read_samples, shard_count
from pipeline.storage import images, shards
from pipeline.types import Detection, Detector, Sample

MODES = ("corrected", "published")
SMALLEST = 64  # side of a crop, pixels
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Crop:
    """One aligned face: its picture (size, size, 3), None if unreadable, and its origin."""

    status: str
    image: Image | None = None
    matrix: Points | None = None
    box: Points | None = None  # in crop pixels
    step: str = ""


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
) -> Counter[str]:
    """Write the faces of one shard of an index; return how many have each status.

    `quality` is that of JPEG; None stores the pixels unchanged, which takes thirteen times the space. Pictures of more
    than `max_megapixels` count as unreadable. `source` is needed if its images are no files of their own. Raises
    UserError on a value out of range, a damaged index and a missing folder.
    """
    count = shard_count(index)
    _check(root, shard, count, size=size, quality=quality, mode=mode)
    cv2.setNumThreads(1)  # shards run in parallel instead
    plugin = plugins.load("pipeline.detectors", detector)
    rows = read_samples(index, shard)
    read = image_reader(root, source, int(max_megapixels * 1e6))
    crops = [
        _pack(_read_and_align(read, sample, plugin, size=size, mode=mode), quality)
        for sample in tqdm(rows, desc=f"shard {shard}", unit="face", disable=None)
    ]
    columns = _columns(rows, crops, _header(index))
    shards.write(out, columns, of=count, size=size, detector=detector, mode=mode)
    return Counter(crop.status for crop, _ in crops)


def align(image: Image, sample: Sample, detector: Detector, *, size: int, mode: str) -> Crop:
    """Find the face of a dataset's image (h, w, 3) and cut it out, see `crop_face`."""
    return crop_face(image, detector.detect(image, sample), sample.box, size=size, mode=mode)


def crop_face(
    image: Image, detection: Detection | None, box: Points | None = None, *, size: int, mode: str = "corrected"
) -> Crop:
    """Turn the detected face of an image (h, w, 3) upright and cut it out to (size, size, 3); `mode` is one of MODES.

    Without a detection the crop shows the `box` x0, y0, x1, y1, without a box inside the image the whole image.
    """
    if detection is not None:
        return _on_template(image, detection, size, mode)
    box = None if box is None else _usable(box, image)
    crop, matrix = (_stretched if mode == "published" else _squared)(image, box, size)
    if box is None:
        return Crop("whole_image", crop, matrix)
    return Crop("box_fallback", crop, matrix, transform_box(matrix, box))


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


def _on_template(image: Image, detection: Detection, size: int, mode: str) -> Crop:
    published = mode == "published"
    matrix = similarity(detection.points5, template(size, published=published))
    crop = warp(image, matrix, size, antialias=not published)
    return Crop(detection.status, crop, matrix, transform_box(matrix, detection.box), detection.step)


def _squared(image: Image, box: Points | None, size: int) -> tuple[Image, Points]:
    """Cut out a square with the box where an aligned face has it, or the whole image; no rotation, no stretching."""
    height, width = image.shape[:2]
    source = np.array([0, 0, width, height]) - 0.5 if box is None else box
    target = np.array([0, 0, size, size]) - 0.5 if box is None else face_box(size)
    scale = np.ptp(target[0::2]) / max(np.ptp(source[0::2]), np.ptp(source[1::2]))
    shift = target.reshape(2, 2).mean(0) - scale * source.reshape(2, 2).mean(0)
    matrix = np.column_stack([np.eye(2) * scale, shift])
    return warp(image, matrix, size), matrix


def _stretched(image: Image, box: Points | None, size: int) -> tuple[Image, Points]:
    """Cut out the box in whole pixels, or the whole image, and stretch it to the square (published code)."""
    height, width = image.shape[:2]
    left, top, right, bottom = (0, 0, width, height) if box is None else np.maximum(box, 0).astype(int).tolist()
    part = Pillow.fromarray(image).crop((left, top, right, bottom))
    crop = np.asarray(part.resize((size, size), Pillow.Resampling.LANCZOS))
    scale = np.array([size / (right - left), size / (bottom - top)])
    return crop, np.column_stack([np.diag(scale), scale * (0.5 - np.array([left, top])) - 0.5])


def _usable(box: Points, image: Image) -> Points | None:
    """Return the box if at least one whole pixel of the image lies in it."""
    height, width = image.shape[:2]
    visible = np.clip(np.nan_to_num(box, nan=0.0), 0, [width, height, width, height]).astype(int)
    return box if np.isfinite(box).all() and visible[2] > visible[0] and visible[3] > visible[1] else None


def image_reader(root: Path, source: str | None, max_pixels: int) -> Callable[[str], Image]:
    """Return the function that reads the image of a sample's path, as its source does or from its file.

    It raises `pipeline.storage.images.Unreadable` if there is no image.
    """
    own = getattr(plugins.load("pipeline.sources", source), "read_image", None) if source else None

    def read(path: str) -> Image:
        image = own(root, path) if own else None
        return images.read(root / path, max_pixels) if image is None else image

    return read


def _read_and_align(read: Callable[[str], Image], sample: Sample, detector: Detector, *, size: int, mode: str) -> Crop:
    try:
        image = read(sample.path)
    except images.Unreadable as error:
        log.warning("unreadable: %s: %s", sample.path, error)
        return Crop("unreadable")
    return align(image, sample, detector, size=size, mode=mode)


def _pack(crop: Crop, quality: int | None) -> tuple[Crop, NDArray[np.uint8]]:
    """Encode the pixels of a crop as the bytes of a file: a shard of AffectNet would not fit into memory."""
    if crop.image is None:
        return crop, np.zeros(0, np.uint8)
    return replace(crop, image=None), images.encode(crop.image, quality)


def _header(index: Path) -> list[str]:
    """List the columns of the index: every shard has all its attributes, and votes if the index has them."""
    with index.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _columns(
    rows: Sequence[Sample], crops: Sequence[tuple[Crop, NDArray[np.uint8]]], header: Sequence[str]
) -> dict[str, NDArray[Any]]:
    count = len(rows)
    packed = [data for _, data in crops]
    matrices = [np.full((2, 3), np.nan) if crop.matrix is None else crop.matrix for crop, _ in crops]
    boxes = [np.full(4, np.nan) if crop.box is None else crop.box for crop, _ in crops]
    own = [_source_landmarks(sample, crop) for sample, (crop, _) in zip(rows, crops, strict=True)]
    names = [name for name in header if name not in (*FIRST, *SHAPES)]
    votes = {VOTES: np.array([_votes(sample) for sample in rows], np.float32).reshape(count, *SHAPES[VOTES])}
    return {
        "id": np.array([sample.id for sample in rows], object),
        "expression": np.array([sample.expression for sample in rows], np.int8),
        "split": np.array([sample.split for sample in rows], object),
        "identity": np.array([sample.identity or "" for sample in rows], object),
        **{f"attribute_{name}": np.array([row.attributes.get(name, "") for row in rows], object) for name in names},
        **(votes if VOTES in header else {}),
        "status": np.array([crop.status for crop, _ in crops], object),
        "step": np.array([crop.step for crop, _ in crops], object),
        "jpeg": np.concatenate([np.zeros(0, np.uint8), *packed]),
        "offset": np.cumsum([0, *map(len, packed)], dtype=np.int64),
        "box": np.array(boxes, np.float32).reshape(count, 4),
        "matrix": np.array(matrices, np.float64).reshape(count, 2, 3),
        "source_landmarks": np.array(own, np.float32).reshape(count, 68, 2),
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
        "--mode", choices=MODES, default="corrected", help="rules of the crop, see the module (default: %(default)s)"
    )
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    counts = align_shard(arguments.pop("index"), arguments.pop("root"), arguments.pop("shard"), **arguments)
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no images in this shard")


if __name__ == "__main__":
    run(main)
