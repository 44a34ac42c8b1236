"""Write a film: H.264 with the times of its frames by the package av, else at a constant rate by OpenCV."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import cv2
import numpy as np

from eval.explain.explanation import RGBImage
from eval.explain.films.reading import DEFAULT_FPS, Frame
from pipeline.errors import UserError

CODEC = "libx264"
TICKS = 90_000  # of a second, the usual unit of times
SLOWEST = 10.0  # frames per second below which a film of constant rate gets DEFAULT_FPS
LONGEST_GAP = 60.0  # seconds that a frame is repeated for at most
OLD_CODEC = "films are written as mp4v, which browsers may not play; `uv sync --group video` brings H.264"


class FilmWriter(Protocol):
    """Writes frames of one size, in the order of their times; `close` finishes the file.

    `note` says what a viewer should know about the codec. `altered_fps` is the constant rate of the film if frames had
    to be repeated or left out for it.
    """

    note: str
    altered_fps: float | None

    def add(self, frame: Frame) -> None:
        """Write a frame."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def open_writer(path: Path, first: RGBImage, fps: float) -> FilmWriter:
    """Open an .mp4 file for frames like the `first`; raise UserError if neither av nor OpenCV can write one."""
    av = _load_av()
    return _OpenCVWriter(path, first, fps) if av is None else _AVWriter(av, path, first, fps)


class _AVWriter:
    """H.264 in the usual pixel format; each frame keeps its time."""

    note = ""
    altered_fps: float | None = None

    def __init__(self, av: Any, path: Path, first: RGBImage, fps: float) -> None:
        self._av, unit = av, Fraction(1, TICKS)
        self._container = av.open(str(path.absolute()), "w", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._container.add_stream(CODEC, rate=rate, options={"preset": "veryfast", "crf": "20"})
        even = _even(first)
        self._stream.width, self._stream.height, self._stream.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
        self._stream.codec_context.time_base = self._unit = unit

    def add(self, frame: Frame) -> None:
        picture = self._av.VideoFrame.from_ndarray(_even(frame.image), format="rgb24")
        picture.pts, picture.time_base = round(frame.seconds * TICKS), self._unit
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


class _OpenCVWriter:
    """A constant rate; a frame is repeated until the next one's time, and left out if that has come already."""

    def __init__(self, path: Path, first: RGBImage, fps: float) -> None:
        self._fps = fps if fps >= SLOWEST else DEFAULT_FPS
        self.altered_fps: float | None = None
        codec = "avc1" if _opencv_has_h264() else "mp4v"
        self.note = OLD_CODEC if codec == "mp4v" else ""
        self._n_written, self._last = 0, _even(first)
        size = (self._last.shape[1], self._last.shape[0])
        self._writer = cv2.VideoWriter(str(path.absolute()), cv2.VideoWriter.fourcc(*codec), self._fps, size)
        if not self._writer.isOpened():
            raise UserError(f"{path}: this installation of OpenCV cannot write .mp4 files")

    def add(self, frame: Frame) -> None:
        place = round(frame.seconds * self._fps)
        if place != self._n_written:
            self.altered_fps = self._fps
        for _ in range(min(place - self._n_written, round(LONGEST_GAP * self._fps))):
            self._writer.write(self._last)
        self._last = np.asarray(cv2.cvtColor(_even(frame.image), cv2.COLOR_RGB2BGR), np.uint8)
        if place >= self._n_written:
            self._writer.write(self._last)
        self._n_written = max(self._n_written, place + 1)

    def close(self) -> None:
        self._writer.release()


def _even(image: RGBImage) -> RGBImage:
    """Repeat the last row or column of an image with an odd side, which H.264 cannot store."""
    height, width = image.shape[:2]
    if not height % 2 and not width % 2:
        return image
    return np.asarray(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)


def _load_av() -> Any:
    """Return the package av if it is installed and has an encoder of H.264, else None."""
    try:
        av = import_module("av")
    except ImportError:
        return None
    return av if CODEC in av.codecs_available else None


@cache
def _opencv_has_h264() -> bool:
    """Try whether OpenCV writes H.264; FFmpeg's complaints about missing encoders are not shown."""
    with TemporaryDirectory() as folder, _silent_stderr():
        writer = cv2.VideoWriter(str(Path(folder, "film.mp4")), cv2.VideoWriter.fourcc(*"avc1"), DEFAULT_FPS, (64, 64))
        opened = writer.isOpened()
        writer.release()
    return bool(opened)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Close the stderr of C libraries for a moment."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
