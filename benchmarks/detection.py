"""Compare detectors on hard versions of a dataset's pictures, on photographs of one small face, and on groups.

The dataset must know five points or 68 landmarks of its faces. A face counts as found if its eyes and nose lie within a
quarter of the distance of the eyes, or of eyes and mouth. Nothing but the table is written.

    python -m benchmarks.detection --source rafdb --root datasets/RAF-DB --out results/detection.csv
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.hard_faces import HARD, Hard, background, in_rows, near_and_far, photograph
from pipeline import plugins
from pipeline.errors import UserError, run
from pipeline.geometry import Image, Points, five_points
from pipeline.storage import images
from pipeline.storage.files import refuse_overwriting, write_text
from pipeline.types import Detection, Sample

CLOSE = 0.25
DETECTORS = [name for name in plugins.names("pipeline.detectors") if name not in ("dataset", "none")]
SIDES = 40, 60, 100, 160, 300  # of the face in a photograph, pixels
GROUPS = {"one near, eight far": (near_and_far, 9), "twelve in rows": (in_rows, 12)}
WITHOUT = 40  # pictures without a face
Detect = Callable[..., list[Detection]]


def compare(source: str, root: Path, detectors: Sequence[str], count: int, seed: int) -> pd.DataFrame:
    """Return a row per kind of picture, with the share of faces found and the milliseconds of each detector."""
    faces = _faces(source, root, count, seed)
    rows = []
    for kind, pictures in _pictures(faces, seed):
        row: dict[str, str | float] = {"pictures": kind, "faces": sum(len(points) for _, points in pictures)}
        for name in detectors:
            detect_all = plugins.load("pipeline.detectors", name).detect_all
            start = time.process_time()
            found = [detect_all(image) for image, _ in pictures]
            row[f"{name} ms"] = 1e3 * (time.process_time() - start) / len(pictures)
            row[name] = _share(found, [points for _, points in pictures])
        rows.append(row)
        print("  ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{value}" for key, value in row.items()))
    return pd.DataFrame(rows)


def _pictures(faces: Sequence[Hard], seed: int) -> Iterator[tuple[str, list[Hard]]]:
    """Yield each kind of picture with its pictures and their points (n, 5, 2)."""
    for kind, harden in HARD.items():
        rng = np.random.default_rng(seed)
        drawn = [harden(*face, rng) for face in faces]
        yield kind, [(image, points[None]) for image, points in drawn]
    for side in SIDES:
        rng = np.random.default_rng([seed, side])
        drawn = [photograph(*face, side, rng) for face in faces]
        yield f"photograph, {side} px", [(image, points[None]) for image, points in drawn]
    for kind, (draw, size) in GROUPS.items():
        rng = np.random.default_rng(seed)
        groups = [faces[start : start + size] for start in range(0, len(faces) - size + 1, size)]
        yield kind, [draw(group, rng) for group in groups]
    rng = np.random.default_rng(seed)
    yield "no face", [(background(rng, 480, 640), np.zeros((0, 5, 2))) for _ in range(WITHOUT)]


def _share(found: Sequence[Sequence[Detection]], truth: Sequence[Points]) -> float:
    """Return the share of faces that were found; of pictures without one, the share in which none was found."""
    if not any(len(points) for points in truth):
        return float(np.mean([not faces for faces in found]))
    pairs = [(faces, points) for faces, known in zip(found, truth, strict=True) for points in known]
    right = [any(_close(face.points5, points) for face in faces) for faces, points in pairs]
    return float(np.mean(right))


def _close(points5: Points, truth: Points) -> bool:
    """Return whether eyes and nose lie within a quarter of the distance of the eyes.

    On a face that is squeezed or turned aside that distance is short; there it is the distance of eyes and mouth.
    """
    across = np.linalg.norm(truth[1] - truth[0])
    down = np.linalg.norm(truth[3:].mean(0) - truth[:2].mean(0))
    return bool(np.linalg.norm(points5[:3] - truth[:3], axis=1).max() < CLOSE * max(across, down))


def _faces(source: str, root: Path, count: int, seed: int) -> list[Hard]:
    """Read `count` pictures and their five points, drawn from the dataset by seed.

    A picture counts if a detector finds its face unchanged: of the others it is not known whether the points are right.
    """
    samples = [sample for sample in plugins.load("pipeline.sources", source).read(root) if _points(sample) is not None]
    chosen: list[Hard] = []
    for row in np.random.default_rng(seed).permutation(len(samples)):
        image, points = images.read(root / samples[row].path), _points(samples[row])
        if points is not None and _is_found(image, samples[row], points):
            chosen.append((image, points))
        if len(chosen) == count:
            return chosen
    raise UserError(f"--root: {root} has {len(chosen)} faces with known points; {count} are needed")


def _is_found(image: Image, sample: Sample, points: Points) -> bool:
    found = (plugins.load("pipeline.detectors", name).detect(image, sample) for name in DETECTORS)
    return any(face is not None and _close(face.points5, points) for face in found)


def _points(sample: Sample) -> Points | None:
    if sample.points5 is None and sample.landmarks is not None:
        return five_points(sample.landmarks)
    return sample.points5


def main() -> None:
    """Read the command line, compare, write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="source of the dataset, a file in pipeline/sources")
    parser.add_argument("--root", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="table to write")
    known = [name for name in plugins.names("pipeline.detectors") if name not in ("dataset", "none")]
    parser.add_argument(
        "--detectors", nargs="+", choices=known, default=known, help="default: all that search pictures"
    )
    parser.add_argument("--faces", type=int, default=24, help="pictures of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the faces and draws the pictures (default: 0)")
    arguments = parser.parse_args()
    refuse_overwriting([arguments.root], [arguments.out])
    cv2.setNumThreads(1)
    table = compare(arguments.source, arguments.root, arguments.detectors, arguments.faces, arguments.seed)
    hard = table[table["pictures"].isin(HARD)]
    print("mean of the hard ones:", ", ".join(f"{name} {hard[name].mean():.3f}" for name in arguments.detectors))
    write_text(arguments.out, table.to_csv(index=False))


if __name__ == "__main__":
    run(main)
