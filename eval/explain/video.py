"""Explain a video frame by frame: a CSV row per frame and face, and the video with maps and labels drawn on it.

Frames are processed in batches, so memory does not grow with the length of the video. A face keeps its number while its
box overlaps its last one. Frames are searched less finely than pictures.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from tqdm import tqdm

from au_guidance.heatmap import CANVAS
from eval.explain.explainer import Explainer
from eval.explain.explanation import Explanation, Points, RGBImage
from eval.figures.faces import divide_by_peak
from eval.figures.style import MAP
from pipeline.errors import UserError
from pipeline.geometry import invert, overlap
from pipeline.storage.files import atomic_write
from train.checkpoints.checkpoint import LABELS

DEFAULT_FPS = 25.0  # for a file that does not state its frame rate
MIN_OVERLAP = 0.3  # intersection over union of two boxes of the same face
MAX_GAP = 15  # frames without a face after which its number is retired
OPACITY = 0.5  # of a map over a face
BOX = ("x0", "y0", "x1", "y1")
COLUMNS = ("frame", "seconds", "face", *BOX, "label", *LABELS, "words", "warnings")


class FaceTracker:
    """Gives a face the number of the earlier box that it overlaps most, or a new number; `n_faces` counts them."""

    def __init__(self) -> None:
        self.n_faces = 0
        self._last_seen: dict[int, tuple[int, Points]] = {}

    def assign(self, frame: int, boxes: Sequence[Points]) -> list[int]:
        """Return the number of each box of a frame; the largest overlaps are assigned first."""
        self._last_seen = {number: seen for number, seen in self._last_seen.items() if frame - seen[0] <= MAX_GAP}
        pairs = [
            (overlap(box, last), place, number)
            for place, box in enumerate(boxes)
            for number, (_, last) in self._last_seen.items()
        ]
        numbers: dict[int, int] = {}
        for shared, place, number in sorted(pairs, reverse=True):
            if shared >= MIN_OVERLAP and place not in numbers and number not in numbers.values():
                numbers[place] = number
        for place in range(len(boxes)):
            if place not in numbers:
                numbers[place], self.n_faces = self.n_faces, self.n_faces + 1
        self._last_seen |= {numbers[place]: (frame, box) for place, box in enumerate(boxes)}
        return [numbers[place] for place in range(len(boxes))]


def explain_video(explainer: Explainer, path: Path, out: Path, *, batch_size: int) -> str:
    """Write `out`.csv and `out`.mp4, each completely or not at all; return a line that sums them up.

    Raises UserError if OpenCV cannot read the file as a video, or cannot write one.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        readable, first = capture.read() if capture.isOpened() else (False, None)
        if not readable:
            raise UserError(f"{path} cannot be read as a film; convert it, for example to .mp4")
        fps = capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        frames = tqdm(_frames(capture, first), desc="explain", total=count or None, unit="frame", disable=None)
        return f"{path}: {_write_explained(explainer, frames, out, fps, batch_size)}; {out}.csv, {out}.mp4"
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, first: Any) -> Iterator[RGBImage]:
    more, frame = True, first
    while more:
        yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        more, frame = capture.read()


def _write_explained(explainer: Explainer, frames: Iterable[RGBImage], out: Path, fps: float, batch_size: int) -> str:
    tracker, n_frames, n_rows = FaceTracker(), 0, 0
    frames, shown = tee(frames)  # the explainer reads a batch ahead
    explained = explainer.for_films().explain_all(frames, batch_size=batch_size)
    with (
        atomic_write(out.with_name(out.name + ".csv")) as table,
        atomic_write(out.with_name(out.name + ".mp4")) as film,
        table.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        writer: cv2.VideoWriter | None = None
        for frame, faces in zip(shown, explained, strict=True):
            writer = writer or _open_writer(film, frame, fps)
            numbered = list(zip(tracker.assign(n_frames, [face.box for face in faces]), faces, strict=True))
            rows.writerows(_row(n_frames, n_frames / fps, *pair) for pair in sorted(numbered, key=itemgetter(0)))
            for number, face in numbered:
                _draw(frame, face, number)
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            n_frames, n_rows = n_frames + 1, n_rows + len(faces)
        if writer is not None:
            writer.release()
    return f"{n_frames} frames, {tracker.n_faces} faces, {n_rows} rows"


def _open_writer(film: Path, frame: RGBImage, fps: float) -> cv2.VideoWriter:
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), fps, (frame.shape[1], frame.shape[0]))
    if not writer.isOpened():
        raise UserError(f"{film}: this installation of OpenCV cannot write .mp4 files")
    return writer


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


def _draw(frame: RGBImage, face: Explanation, number: int) -> None:
    """Draw the class map, or the attention, over a face of a frame, and its number, label and probability above."""
    values = divide_by_peak(face.cams.get(face.label, face.attention[face.layer]))
    colours = np.ascontiguousarray(matplotlib.colormaps[MAP](values, bytes=True)[..., :3])
    size, matrix = (frame.shape[1], frame.shape[0]), invert(face.matrix)
    opacity = OPACITY * (cv2.warpAffine(_soft_ellipse(), matrix, size).astype(np.float32)[..., None] / 255)
    frame[:] = np.rint((1 - opacity) * frame + opacity * cv2.warpAffine(colours, matrix, size))
    left, top, right, bottom = (round(float(value)) for value in face.box)
    cv2.rectangle(frame, (left, top), (right, bottom), (255, 255, 255), 1, cv2.LINE_AA)
    text = f"{number} {face.label} {face.probabilities[face.label]:.2f}"
    place = (left, max(top - 6, 12))
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    cv2.rectangle(frame, (left, place[1] - height - 3), (left + width, place[1] + below), (0, 0, 0), -1)
    cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)


def _soft_ellipse() -> RGBImage:
    """Return the part of an aligned face that is coloured, 0 to 255 with a soft edge."""
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.ellipse(mask, (CANVAS // 2, CANVAS // 2), (CANVAS * 3 // 8, CANVAS * 7 // 16), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (31, 31), 0), np.uint8)
