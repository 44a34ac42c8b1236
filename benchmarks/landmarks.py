"""Compare landmark extractors with the truth on faces that the project draws, all aligned in the same way.

Errors and movements are distances in units of the distance of the outer eye corners, averaged over the points of a
face. Intervals (95 %) are over people. Drawn faces are not photographs: the table ranks extractors on these faces only.

    python -m benchmarks.landmarks --people 60 --seed 0 --out results/landmarks.csv
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS, render
from benchmarks.data import SIDE
from eval.metrics.inference import mean_interval
from pipeline import plugins
from pipeline.crop import crop_face
from pipeline.detectors import blaze
from pipeline.errors import UserError, run
from pipeline.geometry import Image, Points, invert, rescale, scale_of, similarity, template, transform, view_matrix
from pipeline.storage.files import write_text
from pipeline.synthetic.generate import Shot, draw
from pipeline.types import AlignedFaces, Detection, Landmarks

SIZE = 256  # of a crop, pixels
SHIFT = 2.0  # pixels of the crop
NOISE = 8.0  # deviation, of 255
OUTER_CORNERS = 36, 45  # of the eyes
REGIONS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
GEOMETRY = "symmetric"  # of the AU maps that are compared
NOT_COMPARED = {"dataset": "it returns the truth", "published": "it reads the authors' points of real faces"}
Extract = Callable[[AlignedFaces], Landmarks]


@dataclass(frozen=True, eq=False)
class DrawnFace:
    """A drawn picture, its true landmarks (68, 2) in pixels, and where the detector sees the face."""

    image: Image
    truth: Points
    expression: Expression
    detection: Detection


def compare(extractors: Mapping[str, Extract], people: int, seed: int) -> pd.DataFrame:
    """Return a row per extractor and face: what `_numbers` measures, and the milliseconds of the extractor alone."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        faces = list(_draw(person, seed))
        versions = faces, [_shifted(face, rng) for face in faces], [_noisy(face, rng) for face in faces]
        aligned = [_aligned(version) for version in versions]
        for name, extract in extractors.items():
            start = time.process_time()
            landmarks = [extract(version).points for version in aligned]
            milliseconds = 1e3 * (time.process_time() - start) / max(sum(map(len, versions)), 1)
            for row, face in enumerate(faces):
                points = [
                    transform(invert(_matrix(version[row])), found[row])
                    for version, found in zip(versions, landmarks, strict=True)
                ]
                about = {"extractor": name, "person": person, "expression": face.expression.label}
                rows.append(about | {"ms": milliseconds} | _numbers(face, *points))
    return pd.DataFrame(rows)


def _numbers(face: DrawnFace, points: Points, shifted: Points, noisy: Points) -> dict[str, float]:
    """Measure points (68, 2) in pixels of a picture, and how far they move when the crop shifts or noise is added.

    The errors are those of all points and of each region, the cosine is that of the AU map with the true one. What
    needs points that were not found is NaN.
    """
    distances = _distances(points, face.truth, face)
    return {
        "found": float(np.isfinite(points).all()),
        "error": float(distances.mean()),
        **{region: float(distances[rows].mean()) for region, rows in REGIONS.items()},
        "AU map cosine": _map_cosine(face, points),
        "shifted": float(_distances(shifted, points, face).mean()),
        "noisy": float(_distances(noisy, points, face).mean()),
    }


def _distances(points: Points, others: Points, face: DrawnFace) -> Points:
    left, right = face.truth[list(OUTER_CORNERS)]
    return np.asarray(np.linalg.norm(points - others, axis=1) / np.linalg.norm(right - left))


def _map_cosine(face: DrawnFace, points: Points) -> float:
    drawn = [
        render(rescale(transform(_matrix(face), own), SIZE, CANVAS), face.expression, CANVAS, geometry=GEOMETRY)
        for own in (points, face.truth)
    ]
    if drawn[0] is None or drawn[1] is None:
        return nan
    found, truth = (heatmap.astype(np.float64).ravel() for heatmap in drawn if heatmap is not None)
    return float(found @ truth / (np.linalg.norm(found) * np.linalg.norm(truth)))


def summarise(faces: pd.DataFrame) -> pd.DataFrame:
    """Return a row per number and extractor: value and interval over people, over all faces and per expression.

    There is no row for what no face has, such as the AU map of Neutral.
    """
    rows = []
    for extractor, own in faces.groupby("extractor", sort=False):
        for number, part, values in _parts(own):
            by_person = values.groupby(own["person"]).mean().dropna().to_numpy()
            if len(by_person):
                interval = mean_interval(by_person)
                rows.append((number, part, extractor, interval.value, interval.low, interval.high))
        for kind in ("shifted", "noisy"):
            for part, share in (("median", 0.5), ("90th percentile", 0.9)):
                rows.append((f"movement, {kind}", part, extractor, float(own[kind].quantile(share)), nan, nan))
    return pd.DataFrame(rows, columns=["number", "of", "extractor", "value", "low", "high"])


def _parts(faces: pd.DataFrame) -> Iterator[tuple[str, str, "pd.Series[float]"]]:
    yield "found", "all", faces["found"]
    yield "error", "all", faces["error"]
    for region in REGIONS:
        yield "error", region, faces[region]
    for number in ("error", "AU map cosine"):
        for expression in Expression:
            yield number, expression.label, faces[number].where(faces["expression"] == expression.label)
    yield "AU map cosine", "all", faces["AU map cosine"]
    yield "ms a face", "all", faces["ms"]


def table(summary: pd.DataFrame) -> str:
    """Format a summary with a row per number and a column per extractor."""
    summary = summary.assign(
        cell=[_cell(*row) for row in zip(*(summary[name] for name in ("value", "low", "high")), strict=True)]
    )
    wide = summary.pivot(index=["number", "of"], columns="extractor", values="cell")
    order = summary[["number", "of"]].drop_duplicates().apply(tuple, axis=1)
    text: str = wide.loc[list(order), list(dict.fromkeys(summary["extractor"]))].to_string()
    return text


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.3f}" if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _draw(person: int, seed: int) -> Iterator[DrawnFace]:
    """Draw a person's seven expressions; a face that the detector misses is left out."""
    for expression in Expression:
        picture = draw(Shot(seed, person, "test", expression, 0, SIDE))[3]
        detection = blaze.find(picture.image)
        if detection is not None:
            yield DrawnFace(picture.image, np.asarray(picture.landmarks, np.float64), expression, detection)


def _shifted(face: DrawnFace, rng: np.random.Generator) -> DrawnFace:
    """Move the crop by SHIFT of its pixels in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    offset = SHIFT / scale_of(_matrix(face)) * np.array([np.cos(angle), np.sin(angle)])
    return replace(face, detection=replace(face.detection, points5=face.detection.points5 + offset))


def _noisy(face: DrawnFace, rng: np.random.Generator) -> DrawnFace:
    noisy = np.clip(np.rint(face.image + rng.normal(0, NOISE, face.image.shape)), 0, 255)
    return replace(face, image=noisy.astype(np.uint8))


def _matrix(face: DrawnFace) -> Points:
    """Return the matrix from the picture to the crop."""
    return similarity(face.detection.points5, template(SIZE))


def _aligned(faces: Sequence[DrawnFace]) -> AlignedFaces:
    """Crop the faces as `pipeline.align` does."""
    crops = [crop_face(face.image, face.detection, size=SIZE) for face in faces]
    views = [crop.view for crop in crops if crop.view is not None]
    pictures = [crop.image for crop in crops if crop.image is not None]
    truth = [transform(_matrix(face), face.truth) for face in faces]
    return AlignedFaces(
        ids=[face.expression.label for face in faces],
        status=[crop.status for crop in crops],
        boxes=np.array([crop.box for crop in crops], np.float32),
        source_landmarks=np.array(truth, np.float32),
        size=SIZE,
        template=template(SIZE),
        view_matrix=view_matrix(SIZE),
        image=pictures.__getitem__,
        view=views.__getitem__,
    )


def _offline(names: Sequence[str]) -> dict[str, Extract]:
    """Return the extractors that work without a file or a network; print which do not, and why."""
    extractors: dict[str, Extract] = {}
    trial = _aligned(list(_draw(0, 0))[:1])
    for name, reason in NOT_COMPARED.items():
        print(f"left out: {name}: {reason}")
    for name in names:
        extract = plugins.load("pipeline.extractors", name).extract
        try:
            extract(trial)
            extractors[name] = extract
        except UserError as error:
            print(f"left out: {name}: {error}")
    return extractors


def main() -> None:
    """Read the command line, compare, print and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.landmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=60, help="seven faces of each are drawn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the faces (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="table to write")
    arguments = parser.parse_args()
    if arguments.people < 1:
        raise UserError(f"--people: {arguments.people} is below 1")
    cv2.setNumThreads(1)
    known = [name for name in plugins.names("pipeline.extractors") if name not in NOT_COMPARED]
    summary = summarise(compare(_offline(known), arguments.people, arguments.seed))
    print(table(summary))
    write_text(arguments.out, summary.to_csv(index=False))


if __name__ == "__main__":
    run(main)
