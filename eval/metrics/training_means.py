"""Training faces to average maps: what a map scores that knows how faces look, and has not seen the test image.

    python -m eval.metrics.training_means DATA_FOLDER --codebook paper_code --geometry published --out means.npz

From at most 1,000 training faces of each of the six expressions, drawn by seed among those with landmarks:

- class_mean (6, 224, 224), in the order of the class ids: the mean AU heatmap of each expression;
- class_agnostic (224, 224): the mean of those six;
- landmarks (224, 224): the mean of the faces' landmark maps (`train.data.controls.landmark_map`);
- face_gaussian (2, 3): mean (x, y) of all landmarks of all faces, and their covariance, pixels of the canvas;
- about: as JSON, which data, codebook, geometry and seed they are of, and how many faces of each expression.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS, draw
from eval.records.predictions import ORDERED
from pipeline.errors import UserError, run
from pipeline.storage.files import atomic_write, refuse_overwriting
from pipeline.storage.landmarks import read_landmarks
from pipeline.storage.shards import Columns, ShardFolder
from train.card.schema import Heatmap
from train.data.controls import landmark_map

MOST = 1_000  # training faces per expression
FIELDS = ("class_mean", "class_agnostic", "landmarks", "face_gaussian")


@dataclass(frozen=True, eq=False)
class TrainingMeans:
    """Average maps of the training faces of a dataset, see the module; the shapes are given there."""

    path: Path
    class_mean: NDArray[np.float32]
    class_agnostic: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    face_gaussian: NDArray[np.float64]
    about: dict[str, Any]

    def check(self, heatmaps: ShardFolder, heatmap: Heatmap) -> None:
        """Raise UserError if these are no means of the data in a folder of heatmap shards, drawn as `heatmap` asks."""
        wanted = {"codebook": heatmap.codebook, "geometry": heatmap.geometry, "data": fingerprint(heatmaps)}
        for key, value in wanted.items():
            if self.about[key] != value:
                mismatch = f"is of other {key} ({self.about[key]}) than {heatmaps.folder.parent} ({value})"
                raise UserError(f"{self.path} {mismatch}; run eval.metrics.training_means again")


def fingerprint(heatmaps: ShardFolder) -> str:
    """Return what changes when the heatmap shards of a dataset do."""
    return hashlib.sha256(heatmaps.checksums.encode()).hexdigest()[:12]


def average_training_faces(folder: Path, heatmap: Heatmap, *, most: int = MOST, seed: int = 0) -> dict[str, Any]:
    """Average the maps of the training faces of a prepared dataset: the fields of `TrainingMeans`, `path` aside.

    Every face counts the same within its expression, and every expression the same in what is no expression's; one
    without faces has a map of zeros and is left out there. Raises UserError if no training face has landmarks, or the
    shards are of another geometry.
    """
    heatmaps = ShardFolder(folder / "heatmaps")
    stored = _training_faces(folder, heatmaps, heatmap.geometry)
    generator = np.random.default_rng(seed)
    parts = []
    for expression in ORDERED:
        rows = generator.permutation(np.flatnonzero(stored["expression"] == expression))[:most]
        parts.append(_of_class(stored, rows, expression, heatmap))
    filled = [part for part in parts if part.points]
    if not filled:
        raise UserError(f"{folder}: no training face has an AU heatmap; check the landmarks of the dataset")
    spots = np.concatenate([face for part in filled for face in part.points])
    return {
        "class_mean": np.stack([part.heatmap for part in parts]),
        "class_agnostic": np.mean([part.heatmap for part in filled], axis=0),
        "landmarks": np.mean([part.landmarks for part in filled], axis=0),
        "face_gaussian": np.vstack([spots.mean(axis=0), np.cov(spots.T)]),
        "about": {
            "codebook": heatmap.codebook,
            "geometry": heatmap.geometry,
            "data": fingerprint(heatmaps),
            "seed": seed,
            "faces": {expression.label: len(part.points) for expression, part in zip(ORDERED, parts, strict=True)},
        },
    }


@dataclass(frozen=True, eq=False)
class _Part:
    """The mean maps of one expression, zeros without faces, and the landmarks of the faces behind them."""

    heatmap: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    points: list[NDArray[np.float64]]


def _of_class(stored: Columns, rows: NDArray[np.intp], expression: Expression, heatmap: Heatmap) -> _Part:
    drawn, landmarks, points = np.zeros((CANVAS, CANVAS)), np.zeros((CANVAS, CANVAS)), []
    for row in rows:
        image = draw(stored["shapes"][row], expression, codebook=heatmap.codebook, geometry=heatmap.geometry)
        if image is not None:
            drawn += image
            landmarks += landmark_map(stored["points"][row])
            points.append(stored["points"][row])
    count = max(len(points), 1)
    return _Part((drawn / count).astype(np.float32), (landmarks / count).astype(np.float32), points)


def _training_faces(folder: Path, heatmaps: ShardFolder, geometry: str) -> Columns:
    """Read classes, shapes and landmarks of the training faces that have any; no images."""
    stored_geometry = heatmaps.attributes["geometry"]
    if stored_geometry != geometry:
        raise UserError(f"{folder}/heatmaps holds the geometry {stored_geometry!r}, not {geometry!r}; name that one")
    faces = ShardFolder(folder / "faces").columns("id", "expression", "split")
    landmarks = ShardFolder(folder / "landmarks")
    shapes = heatmaps.columns("id", "shapes")
    if not all(np.array_equal(faces["id"], ids) for ids in (shapes["id"], landmarks.columns("id")["id"])):
        raise UserError(f"{folder}: its shards list different images; run the workflow again")
    kept = (faces["split"] == "train") & np.isfinite(shapes["shapes"]).all(axis=(1, 2))
    return {
        "expression": faces["expression"][kept],
        "shapes": shapes["shapes"][kept],
        "points": read_landmarks(landmarks)[kept],
    }


def write_means(folder: Path, heatmap: Heatmap, out: Path, seed: int = 0) -> None:
    """Write the average maps of a prepared dataset's training faces."""
    refuse_overwriting(folder.glob("*/*.h5"), [out])
    means = average_training_faces(folder, heatmap, seed=seed)
    about = np.array(json.dumps(means.pop("about")))
    with atomic_write(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=about, **means)


def read_means(path: Path) -> TrainingMeans:
    """Read a file of this module; raise UserError if it is none."""
    try:
        with np.load(path) as stored:
            about = json.loads(str(stored["about"]))
            return TrainingMeans(path, **{name: stored[name] for name in FIELDS}, about=about)
    except FileNotFoundError:
        problem = "does not exist; make it"
    except Exception:  # numpy and zipfile raise whatever damaged bytes lead them to
        problem = "holds no means of training faces; make them"
    raise UserError(f"{path} {problem} with python -m eval.metrics.training_means")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.metrics.training_means",
        description="Average the AU heatmaps and landmarks of a dataset's training faces, for eval.score.",
    )
    parser.add_argument("folder", type=Path, help="prepared dataset, with faces/, landmarks/ and heatmaps/ shards")
    parser.add_argument("--codebook", required=True, help="expression -> AUs, a file in au_guidance/codebooks")
    parser.add_argument("--geometry", required=True, help="AU -> shapes, a file in au_guidance/geometries")
    parser.add_argument("--seed", type=int, default=0, help="draws faces if over 1,000; default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="means.npz to write")
    arguments = parser.parse_args()
    heatmap = Heatmap(codebook=arguments.codebook, geometry=arguments.geometry)
    write_means(arguments.folder, heatmap, arguments.out, arguments.seed)


if __name__ == "__main__":
    run(main)
