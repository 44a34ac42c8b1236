"""Explain a video frame by frame: a CSV row per frame and face, and the video with maps and labels drawn on it.

Frames are processed in batches, so memory does not grow with the length of the video. A face keeps its number while its
box overlaps its last one.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from tqdm import tqdm

from au_guidance.heatmap import CANVAS
from eval.explain.explainer import Explainer
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.tracker import FaceTracker
from eval.figures.faces import divide_by_peak
from eval.figures.style import MAP
from pipeline.errors import UserError
from pipeline.geometry import invert
from pipeline.storage.files import atomic_write
from train.checkpoints.checkpoint import LABELS

DEFAULT_FPS = 25.0  # for a file that does not state its frame rate
OPACITY = 0.5  # of a map over a face
BOX = ("x0", "y0", "x1", "y1")
COLUMNS = ("frame", "seconds", "face", *BOX, "label", *LABELS, "words", "warnings")


def explain_video(explainer: Explainer, path: Path, out: Path, *, batch_size: int) -> str:
    """Write `out`.csv and `out`.mp4, each completely or not at all; return a line that sums them up.

    Raises UserError if OpenCV cannot read the file as a video, or cannot write one.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        readable, first = capture.read() if capture.isOpened() else (False, None)
        if not readable:
            raise UserError(f"{path} cannot be read as a video; convert it, for example to .mp4")
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
    with (
        atomic_write(out.with_name(out.name + ".csv")) as table,
        atomic_write(out.with_name(out.name + ".mp4")) as film,
        table.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        writer: cv2.VideoWriter | None = None
        for frame, faces in _explained(explainer, frames, batch_size):
            writer = writer or _open_writer(film, frame, fps)
            numbers = tracker.assign(n_frames, [face.box for face in faces])
            numbered = dict(sorted(zip(numbers, faces, strict=True), key=lambda pair: pair[0]))
            rows.writerows(_row(n_frames, n_frames / fps, number, face) for number, face in numbered.items())
            drawn = frame.copy()
            for number, face in zip(numbers, faces, strict=True):
                _draw(drawn, face, number)
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            n_frames, n_rows = n_frames + 1, n_rows + len(faces)
        if writer is not None:
            writer.release()
    return f"{n_frames} frames, {tracker.n_faces} faces, {n_rows} rows"


def _explained(
    explainer: Explainer, frames: Iterable[RGBImage], batch_size: int
) -> Iterator[tuple[RGBImage, Sequence[Explanation]]]:
    """Pair each frame with its explanations; the explainer takes frames in batches, so they are kept until then."""
    rest = iter(frames)
    while batch := list(islice(rest, batch_size)):
        yield from zip(batch, explainer.explain_all(batch, batch_size=batch_size), strict=True)


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
    colours = (255 * matplotlib.colormaps[MAP](np.clip(values, 0, 1))[..., :3]).astype(np.uint8)
    size, matrix = (frame.shape[1], frame.shape[0]), invert(face.matrix)
    opacity = OPACITY * (cv2.warpAffine(_soft_ellipse(), matrix, size).astype(np.float32)[..., None] / 255)
    mixed = (1 - opacity) * frame + opacity * cv2.warpAffine(colours, matrix, size)
    frame[:] = np.rint(mixed).astype(np.uint8)
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
