"""A video explained frame by frame: a CSV row per frame and face, and the video with what was found drawn on it.

Frames pass in small groups, so that memory does not grow with the length. A face keeps its number from frame to frame
while its box overlaps the one before.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from au_guidance.heatmap import CANVAS
from eval.explain.explainer import Explainer, Explanation
from eval.figures.faces import shown
from eval.figures.style import MAP
from pipeline.errors import UserError
from pipeline.geometry import invert, overlap
from pipeline.storage.files import atomic_write
from train.checkpoints.checkpoint import LABELS

SAME = 0.3  # overlap (IoU) of two boxes that are one face
FORGET = 15  # frames without a face after which its number is not used again
RATE = 25.0  # frames per second where the file does not say
SOLID = 0.5
Picture = NDArray[np.uint8]


class Tracks:
    """Numbers for faces: a face gets that of the box of a frame before that it overlaps most, else a new one."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self.next = 0

    def follow(self, frame: int, boxes: Sequence[NDArray[np.float64]]) -> list[int]:
        """Return the number of each box of a frame; the best overlaps are taken first."""
        self.known = {number: seen for number, seen in self.known.items() if frame - seen[0] <= FORGET}
        known = self.known.items()
        pairs = [(overlap(box, last), place, number) for place, box in enumerate(boxes) for number, (_, last) in known]
        given: dict[int, int] = {}
        for same, place, number in sorted(pairs, reverse=True):
            if same >= SAME and place not in given and number not in given.values():
                given[place] = number
        for place in range(len(boxes)):
            if place not in given:
                given[place], self.next = self.next, self.next + 1
        self.known |= {given[place]: (frame, box) for place, box in enumerate(boxes)}
        return [given[place] for place in range(len(boxes))]


def explain(explainer: Explainer, path: Path, out: Path, *, batch: int) -> str:
    """Write `out`.csv and `out`.mp4, each whole or not at all; say in a line what was found.

    Raises UserError if the file is no video that OpenCV reads, or no frame of it.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        first, picture = capture.read() if capture.isOpened() else (False, None)
        if not first:
            raise UserError(f"{path} is no video that can be read; convert it, for example to .mp4")
        rate = capture.get(cv2.CAP_PROP_FPS) or RATE
        frames = _frames(capture, picture)
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        shown = tqdm(frames, desc="explain", total=max(total, 0) or None, unit="frame", disable=None)
        return f"{path}: {_written(explainer, shown, out, rate=rate, batch=batch)}; {out}.csv, {out}.mp4"
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, first: Any) -> Iterator[Picture]:
    there, picture = True, first
    while there:
        yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        there, picture = capture.read()


def _written(explainer: Explainer, frames: Iterable[Picture], out: Path, *, rate: float, batch: int) -> str:
    tracks, number, rows = Tracks(), 0, 0
    rest, writer = iter(frames), None
    with (
        atomic_write(out.with_name(out.name + ".csv")) as table,
        atomic_write(out.with_name(out.name + ".mp4")) as film,
        table.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.DictWriter(file, ["frame", "seconds", "face", *BOX, "label", *LABELS, "words", "warnings"])
        lines.writeheader()
        while some := list(islice(rest, batch)):
            for picture, faces in zip(some, explainer.explain_all(some, batch=batch), strict=True):
                if writer is None:
                    size = (picture.shape[1], picture.shape[0])
                    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                    if not writer.isOpened():
                        raise UserError(f"{film}: OpenCV cannot write .mp4 here")
                numbers = tracks.follow(number, [face.box for face in faces])
                for face, own in sorted(zip(faces, numbers, strict=True), key=lambda pair: pair[1]):
                    lines.writerow(_row(number, number / rate, own, face))
                    rows += 1
                drawn = picture.copy()
                for face, own in zip(faces, numbers, strict=True):
                    _draw(drawn, face, own)
                writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
                number += 1
        if writer is not None:
            writer.release()
    return f"{number} frames, {tracks.next} faces in {rows} places"


BOX = ("x0", "y0", "x1", "y1")


def _row(frame: int, seconds: float, number: int, face: Explanation) -> dict[str, Any]:
    return {
        "frame": frame,
        "seconds": round(seconds, 3),
        "face": number,
        **dict(zip(BOX, (round(float(value), 1) for value in face.box), strict=True)),
        "label": face.label,
        **{label: round(face.probabilities[label], 4) for label in LABELS},
        "words": face.words[0],
        "warnings": "; ".join(face.warnings),
    }


def _draw(picture: Picture, face: Explanation, number: int) -> None:
    """Lay the class map, or the attention, over the face where it is in the picture, and name the face."""
    values = shown(face.cams.get(face.label, face.attention[face.layer]))
    heat = (255 * matplotlib.colormaps[MAP](np.clip(values, 0, 1))[..., :3]).astype(np.uint8)
    size = (picture.shape[1], picture.shape[0])
    back = invert(face.matrix)
    colours = cv2.warpAffine(heat, back, size)
    where = cv2.warpAffine(_round(), back, size).astype(np.float32)[..., None] / 255
    strength = SOLID * where
    picture[:] = np.rint((1 - strength) * picture + strength * colours).astype(np.uint8)
    left, top, right, bottom = (round(float(value)) for value in face.box)
    cv2.rectangle(picture, (left, top), (right, bottom), (255, 255, 255), 1, cv2.LINE_AA)
    text = f"{number} {face.label} {face.probabilities[face.label]:.2f}"
    place = (left, max(top - 6, 12))
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    cv2.rectangle(picture, (left, place[1] - height - 3), (left + width, place[1] + below), (0, 0, 0), -1)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)


def _round() -> Picture:
    """Return the part of a crop that is coloured: a soft-edged ellipse."""
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.ellipse(mask, (CANVAS // 2, CANVAS // 2), (CANVAS * 3 // 8, CANVAS * 7 // 16), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (31, 31), 0), np.uint8)
