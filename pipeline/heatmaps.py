"""Fourth stage: turn the landmarks of one shard into AU shapes, from which all heatmaps of a face are drawn.

    python -m pipeline.heatmaps landmarks/0.h5 --out heatmaps/0.h5 --geometry published

A row holds the ellipses of all AUs on the 224-px canvas (under 1 kB per face, for any expression and any codebook);
`au_guidance.heatmap.draw` draws the map that `render` gives for the same landmarks.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from au_guidance.heatmap import shapes
from pipeline.errors import run
from pipeline.storage import shards
from pipeline.storage.files import refuse_overwriting
from pipeline.storage.landmarks import read_landmarks


def build_heatmaps(landmarks: Path, out: Path, geometry: str) -> None:
    """Write the heatmap shard that belongs to a landmark shard.

    Raises UserError if the landmarks were placed on other faces than those in `faces/` beside the folder of landmarks.
    """
    refuse_overwriting([landmarks], [out])
    stored = shards.Shard(landmarks)
    faces = landmarks.resolve().parent.parent / "faces" / landmarks.name
    if stored.parents and faces.is_file():
        stored.check_parent(shards.Shard(faces))
    drawn = shapes(read_landmarks(stored), geometry).astype(np.float32)
    named = {**stored.parents, "landmarks": stored.sha256}
    parents: dict[str, Any] = {f"{stage}{shards.PARENT}": sha256 for stage, sha256 in named.items()}
    shards.write(out, {**stored.columns("id"), "shapes": drawn}, of=stored.count, geometry=geometry, **parents)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.heatmaps",
        description="Read a landmark shard; write the heatmap shard, the AU shapes of each face on the 224-px canvas.",
    )
    parser.add_argument("landmarks", type=Path, help="landmark shard, landmarks/<k>.h5")
    parser.add_argument("--out", type=Path, required=True, help="heatmap shard to write, heatmaps/<k>.h5")
    geometries = "AU -> shapes, a file in au_guidance/geometries (default: %(default)s)"
    parser.add_argument("--geometry", default="published", help=geometries)
    arguments = parser.parse_args()
    build_heatmaps(arguments.landmarks, arguments.out, arguments.geometry)


if __name__ == "__main__":
    run(main)
