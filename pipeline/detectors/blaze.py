"""MediaPipe's BlazeFace proposes faces, its FaceMesh checks each and gives the five points; both work offline.

A picture of fewer pixels than BlazeFace sees is first shown to FaceMesh as a whole (step "tight"). Otherwise, one pass
misses small, cut-off and turned faces, and these are not spread evenly over the expressions. Therefore steps are tried
in turn, and the step that finds the face is recorded with its score. Windows let small faces of a large picture appear
large, a continued edge shows tight crops as BlazeFace knows faces, and turns find sideways ones. If BlazeFace sees no
face, FaceMesh looks at the dataset's box (step "box"), or without one at the whole picture, which may be a face already
(step "whole_image").

Windows take most of the time of a large picture. The option `windows` says into how many parts at most its longest side
is divided: 1, 2, 4 or 8 (default). Of drawn faces in pictures of 1280 px, 8 finds those from 30 px on in 0.8 s, 4 those
from 60 px on in 0.3 s, and 2 and 1 those from 100 px on in 0.2 s.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.detectors._mediapipe import (
    FULL_RANGE,
    MESH_68,
    PRESENT,
    SHORT_RANGE,
    Network,
    Proposal,
    face_mesh,
    propose,
    window,
    window_of_mesh,
    window_of_proposal,
)
from pipeline.errors import UserError
from pipeline.geometry import Image, Points, distinct, five_points, overlap
from pipeline.types import Detection, Sample

SURE = 0.9  # FaceMesh's probability that steps ask for which search many windows or turn the picture
LABELLED = 0.1  # IoU with the dataset's box below which a face is another person
TIGHT = 1.3  # side of the window in which a small picture is a face, in units of its longest side
FILLED = 0.25  # IoU of a face and the picture that it fills
WHOLE = 1.25, 1.5, 1.75, 1.0  # sides of the windows around what may be a face as a whole, in units of its own


@dataclass(frozen=True)
class Step:
    """One way to search: continue the edge, turn the picture, divide its longest side into windows."""

    name: str
    network: Network = SHORT_RANGE
    border: float = 0.0  # of the longest side
    turn: int = 0  # degrees
    parts: int = 1  # windows along the longest side, each overlapping the next by half
    threshold: float = 0.5
    present: float = PRESENT  # FaceMesh's probability of a face above which a proposal is confirmed
    smallest: int = 0  # side in pixels below which a picture or window would only be enlarged
    smallest_face: float = 0.0  # side of a face, of the picture's shorter side: smaller ones are mostly false


STEPS = (
    Step("plain"),
    Step("padded", border=0.4),
    Step("far", FULL_RANGE, smallest=128),
    # In many windows something looks a little like a face, so FaceMesh must be sure.
    Step("halves", smallest=64, parts=2, threshold=0.6, present=SURE),
    Step("quarters", smallest=64, parts=4, threshold=0.6, present=SURE),
    Step("eighths", smallest=64, parts=8, threshold=0.6, present=SURE),
    Step("left", border=0.2, present=SURE, turn=90),
    Step("right", border=0.2, present=SURE, turn=270),
    Step("over", border=0.2, present=SURE, turn=180),
)
WINDOWS = ("1", "2", "4", "8")
LOW_THRESHOLD = Step("low_threshold", border=0.2, threshold=0.2, smallest_face=0.25)


def detect(image: Image, sample: Sample, windows: str = WINDOWS[-1]) -> Detection | None:
    """Return the face that overlaps the dataset's box most, without a box the one with the highest score, or None."""
    return find(image, sample.box, windows)


def find(image: Image, known: Points | None = None, windows: str = WINDOWS[-1]) -> Detection | None:
    """Return the face of an image that overlaps a `known` box most, see `detect`."""
    tight = _tight(image)
    if tight is not None and (known is None or overlap(tight.box, known) >= LABELLED):
        return tight
    for step in (*_steps(windows), LOW_THRESHOLD):
        faces = [face for face in _faces(image, step) if known is None or overlap(face.box, known) >= LABELLED]
        if faces:
            best = max(faces, key=lambda face: face.score if known is None else overlap(face.box, known))
            return replace(best, status="several" if len(faces) > 1 else "ok")
    return _taken_whole(image, known)


def detect_all(image: Image, windows: str = WINDOWS[-1]) -> list[Detection]:
    """Return the faces that all steps at full threshold find, from left to right; else what the later steps find."""
    found = [face for step in _steps(windows) for face in _faces(image, step)]
    if not found:
        found = list(_faces(image, LOW_THRESHOLD)) or [face for face in [_taken_whole(image)] if face]
    faces = distinct(sorted(found, key=lambda face: -face.score), lambda face: face.box)
    status = "several" if len(faces) > 1 else "ok"
    return [replace(face, status=status) for face in sorted(faces, key=lambda face: float(face.box[0]))]


def _steps(windows: str) -> list[Step]:
    if windows not in WINDOWS:
        raise UserError(f"option windows: {windows!r} is not one of {', '.join(WINDOWS)}")
    return [step for step in STEPS if step.parts <= int(windows)]


def _tight(image: Image) -> Detection | None:
    """Return the face that fills a picture of few pixels, if FaceMesh is sure of it: BlazeFace would cost as much."""
    height, width = image.shape[:2]
    if max(height, width) >= SHORT_RANGE.side:
        return None
    centre = np.array([width - 1, height - 1]) / 2
    points, presence = face_mesh(image, window(centre, TIGHT * max(height, width)))
    face = _detection(points, presence, "tight")
    fills = overlap(face.box, np.array([0.0, 0.0, width - 1, height - 1])) >= FILLED
    return face if presence > SURE and fills else None


def _faces(image: Image, step: Step) -> Iterator[Detection]:
    """Yield the faces that one step proposes and FaceMesh confirms, at the first look or the second."""
    for proposal in _proposals(image, step):
        points, presence = face_mesh(image, window_of_proposal(proposal))
        if presence <= step.present:
            points, presence = face_mesh(image, window_of_mesh(points))
        if presence > step.present:
            yield _detection(points, proposal.score, step.name)


def _proposals(image: Image, step: Step) -> list[Proposal]:
    """Search the windows of a step, the best face first; a face that two of them see counts once."""
    height, width = image.shape[:2]
    side = max(height, width) // step.parts
    if side < step.smallest:
        return []
    limit = step.smallest_face * min(height, width)
    search = partial(propose, network=step.network, border=step.border, turn=step.turn, threshold=step.threshold)
    if step.parts == 1:
        return [face for face in search(image) if np.ptp(face.box[:, 0]) >= limit]
    found: list[Proposal] = []
    for top in range(0, max(height - side // 2, 1), side // 2):
        for left in range(0, max(width - side // 2, 1), side // 2):
            part = np.ascontiguousarray(image[top : top + side, left : left + side])
            found += [
                Proposal(score, box + np.array([left, top]), points + np.array([left, top]))
                for score, box, points in search(part)
            ]
    return distinct(sorted(found, key=lambda face: -face.score), lambda face: face.box.ravel())


def _taken_whole(image: Image, known: Points | None = None) -> Detection | None:
    """Ask FaceMesh whether the whole picture, or the `known` box, is a face, in windows of several sides."""
    height, width = image.shape[:2]
    box = np.array([-0.5, -0.5, width - 0.5, height - 0.5]) if known is None else known
    longest = float(np.ptp(box.reshape(2, 2), axis=0).max())
    for side in WHOLE:
        first, _ = face_mesh(image, window(box.reshape(2, 2).mean(0), side * longest))
        points, presence = face_mesh(image, window_of_mesh(first))
        face = _detection(points, presence, "whole_image" if known is None else "box")
        if presence > PRESENT and overlap(face.box, box) >= LABELLED:
            return face
    return None


def _detection(points: Points, score: float, step: str) -> Detection:
    face = points[MESH_68]
    box = np.concatenate([face[17:].min(0), face.max(0)])  # brows to chin
    return Detection(box, five_points(face), "ok", step, score)
