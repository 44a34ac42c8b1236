"""Third stage: place 68 landmarks on aligned faces.

    python -m pipeline.landmarks faces/0.h5 --out landmarks/0.h5 --extractor mesh

Extractors see the view of each crop, which holds the chin and the margin that their networks were trained with.
Landmarks are stored with a status and, where the extractor knows it, a quality; NaN means none. A killed call of a slow
extractor continues after the last finished block of faces.
"""

import argparse
import inspect
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.crop import Crop
from pipeline.errors import run
from pipeline.geometry import Points, complete, template, view_matrix
from pipeline.storage import images, shards
from pipeline.storage.blocks import compute_blocks, remove_blocks
from pipeline.storage.files import digest, refuse_overwriting
from pipeline.types import AlignedFaces, Landmarks

MOSTLY = 0.5  # share of the points that must lie in the crop


def extract_landmarks(faces: Path, out: Path, extractor: str, options: Mapping[str, str] | None = None) -> Counter[str]:
    """Write the landmark shard that belongs to a face shard; return how many faces have each status."""
    refuse_overwriting([faces], [out])
    cv2.setNumThreads(1)  # shards run in parallel instead
    shard = shards.Shard(faces)
    aligned = _aligned_faces(shard)
    plugin = plugins.load("pipeline.extractors", extractor)
    plugins.check_options(f"the extractor {extractor!r}", plugin.extract, options or {})
    landmarks = _extract(plugin, aligned, options or {}, out, f"{shard.sha256} {extractor}")
    known = complete(landmarks.points)
    points = np.where(known[:, None, None], landmarks.points, np.nan).astype(np.float32)
    status = _with_outside(points, landmarks.status, aligned.size)
    columns = {
        "id": np.array(aligned.ids, object),
        "points": points,
        "status": np.array(status, object),
        "quality": np.where(known, landmarks.quality, np.nan).astype(np.float32),
    }
    shards.write(out, columns, of=shard.count, extractor=extractor, size=aligned.size, faces_sha256=shard.sha256)
    remove_blocks(out)
    return Counter(status)


def place_landmarks(crop: Crop, mode: str, extractor: str = "mesh", **options: str) -> tuple[Points | None, float]:
    """Place landmarks (68, 2) on a readable aligned face, in pixels of the crop; None if the extractor finds none.

    `mode` is how the face was aligned. The number is the landmarks' quality, NaN if the extractor knows none.
    """
    assert crop.image is not None
    assert crop.view is not None
    image, view = crop.image, crop.view
    face = AlignedFaces(
        ids=[""],
        status=[crop.status],
        boxes=np.full((1, 4), np.nan, np.float32),
        source_landmarks=np.full((1, 68, 2), np.nan, np.float32),
        size=len(image),
        template=template(len(image), mode),
        view_matrix=view_matrix(len(image), mode),
        image=lambda row: image,
        view=lambda row: view,
    )
    landmarks: Landmarks = plugins.load("pipeline.extractors", extractor).extract(face, **options)
    points = landmarks.points[0].astype(np.float64)
    return points if complete(points) else None, float(landmarks.quality[0])


def _aligned_faces(shard: shards.Shard) -> AlignedFaces:
    columns, files = shard.columns("id", "status", "box", "source_landmarks"), shard.stored_files()
    size, mode = int(shard.attributes["size"]), str(shard.attributes["mode"])
    has_views = "view_jpeg" in shard.names  # shards of earlier versions have none: the crop is the view
    views = shard.stored_files("view_") if has_views else files
    return AlignedFaces(
        ids=list(columns["id"]),
        status=list(columns["status"]),
        boxes=columns["box"],
        source_landmarks=columns["source_landmarks"],
        size=size,
        template=template(size, mode),
        view_matrix=view_matrix(size, mode) if has_views else np.eye(2, 3),
        image=lambda row: images.decode(files[row]),
        view=lambda row: images.decode(views[row]),
    )


def _extract(plugin: Any, faces: AlignedFaces, options: Mapping[str, str], out: Path, origin: str) -> Landmarks:
    """Place the landmarks of all faces, BLOCK at a time if the extractor has such a constant.

    Finished blocks stay beside `out` until it is written, so that a killed call continues. They depend on the `origin`
    of the faces, the options and the extractor's code.
    """
    size = getattr(plugin, "BLOCK", None)
    if size is None:
        landmarks: Landmarks = plugin.extract(faces, **options)
        return landmarks

    def compute(start: int) -> shards.Columns:
        part: Landmarks = plugin.extract(faces.part(start, start + size), **options)
        return {"points": part.points, "status": np.array(part.status, object), "quality": part.quality}

    key = f"{origin} {sorted(options.items())} {digest(Path(inspect.getfile(plugin.extract)))}"
    columns = compute_blocks(out, key, range(0, max(len(faces.ids), 1), size), compute)
    return Landmarks(columns["points"], columns["status"].tolist(), columns["quality"])


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
    counts = extract_landmarks(
        arguments.faces, arguments.out, arguments.extractor, plugins.parse_options(arguments.option)
    )
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no faces in this shard")


if __name__ == "__main__":
    run(main)
