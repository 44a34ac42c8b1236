"""Third stage: place 68 landmarks on aligned faces.

    python -m pipeline.landmarks faces/0.h5 --out landmarks/0.h5 --extractor dlib

Landmarks are stored with a status and, where the extractor knows it, a quality; NaN means none.
"""

import argparse
import inspect
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.align import Crop
from pipeline.errors import UserError, run
from pipeline.geometry import Points, complete
from pipeline.storage import images, shards
from pipeline.types import AlignedFaces, Landmarks

MOSTLY = 0.5  # share of the points that must lie in the crop


def extract_landmarks(faces: Path, out: Path, extractor: str, options: Mapping[str, str] | None = None) -> Counter[str]:
    """Write the landmark shard that belongs to a face shard; return how many faces have each status."""
    cv2.setNumThreads(1)  # shards run in parallel instead
    shard = shards.Shard(faces)
    aligned = _aligned_faces(shard)
    plugin = plugins.load("pipeline.extractors", extractor)
    _check_options(extractor, inspect.signature(plugin.extract), options or {})
    landmarks: Landmarks = plugin.extract(aligned, **(options or {}))
    known = complete(landmarks.points)
    points = np.where(known[:, None, None], landmarks.points, np.nan).astype(np.float32)
    status = _with_outside(points, landmarks.status, aligned.size)
    columns = {
        "id": np.array(aligned.ids, object),
        "points": points,
        "status": np.array(status, object),
        "quality": np.where(known, landmarks.quality, np.nan).astype(np.float32),
    }
    shards.write(out, columns, of=shard.count, extractor=extractor, size=aligned.size)
    return Counter(status)


def place_landmarks(crop: Crop, extractor: str = "dlib", **options: str) -> Points | None:
    """Place landmarks (68, 2) on one readable aligned face, in pixels of the crop; None if the extractor finds none."""
    assert crop.image is not None
    image = crop.image
    face = AlignedFaces(
        ids=[""],
        status=[crop.status],
        boxes=np.full((1, 4), np.nan, np.float32),
        source_landmarks=np.full((1, 68, 2), np.nan, np.float32),
        size=len(image),
        image=lambda row: image,
    )
    landmarks: Landmarks = plugins.load("pipeline.extractors", extractor).extract(face, **options)
    return landmarks.points[0].astype(np.float64) if complete(landmarks.points[0]) else None


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """Read `key=value` arguments; raise UserError on one without a key or value."""
    parts = [text.partition("=") for text in texts]
    wrong = [text for text, (key, _, value) in zip(texts, parts, strict=True) if not key or not value]
    if wrong:
        raise UserError(f"--option {wrong[0]}: write it as key=value")
    return {key: value for key, _, value in parts}


def _aligned_faces(shard: shards.Shard) -> AlignedFaces:
    columns, files = shard.columns("id", "status", "box", "source_landmarks"), shard.stored_files()
    return AlignedFaces(
        ids=list(columns["id"]),
        status=list(columns["status"]),
        boxes=columns["box"],
        source_landmarks=columns["source_landmarks"],
        size=int(shard.attributes["size"]),
        image=lambda row: images.decode(files[row]),
    )


def _check_options(extractor: str, signature: inspect.Signature, options: Mapping[str, str]) -> None:
    known = [name for name in signature.parameters if name != "faces"]
    for name in options:
        if name not in known:
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise UserError(f"the extractor {extractor!r} has no option {name!r}; {has}")


def _with_outside(points: NDArray[np.float32], status: Sequence[str], size: int) -> list[str]:
    """Mark faces whose points lie mostly outside the crop: their heatmap would be cut off or empty."""
    inside = ((points > -0.5) & (points < size - 0.5)).all(2).mean(1) >= MOSTLY
    outside = complete(points) & ~inside
    return ["outside" if out else name for name, out in zip(status, outside, strict=True)]


def main() -> None:
    """Read the command line, place the landmarks of one shard, print how many faces have each status."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.landmarks",
        description="Read a face shard; write the landmark shard, 68 landmarks per face with a status.",
    )
    parser.add_argument("faces", type=Path, help="face shard, faces/<k>.h5")
    parser.add_argument("--out", type=Path, required=True, help="landmark shard to write, landmarks/<k>.h5")
    parser.add_argument("--extractor", required=True, help=f"one of: {', '.join(plugins.names('pipeline.extractors'))}")
    options = "option of the extractor, repeatable (default: none)"
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=options)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    counts = extract_landmarks(arguments.faces, arguments.out, arguments.extractor, parse_options(arguments.option))
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no faces in this shard")


if __name__ == "__main__":
    run(main)
