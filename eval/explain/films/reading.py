"""Read a film frame by frame, upright and with square pixels, each frame with the container's own time."""

import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from eval.explain.explanation import RGBImage
from pipeline.errors import UserError

DEFAULT_FPS = 25.0  # for a file that does not state its frame rate
COUNTED = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # first boxes of MP4 and QuickTime
MAX_LOST = 100  # damaged frames one after another that are skipped; OpenCV tells them and the end in the same way
NEARLY = 0.95  # of the announced duration; OpenCV estimates the number of frames of other containers from it
SAMPLE_FORMAT = re.compile(rb"stsd.{12}([ -~]{4})", re.DOTALL)  # of a track of MP4 and QuickTime
NO_VIDEO = (b"mp4a", b"ac-3", b"ec-3", b"Opus", b"alac", b"sowt", b"lpcm", b"tx3g", b"text", b"tmcd", b"mebx")


class Frame(NamedTuple):
    """A frame, RGB (h, w, 3), and when it is shown, in seconds from the first one."""

    image: RGBImage
    seconds: float


class Film:
    """A film that OpenCV decodes, to be closed after use.

    `fps` is the frame rate that the file states, `n_frames` how many frames were read, `seconds` the time of the last
    one. Raises UserError, with the codec if it is known, if no frame can be decoded or frames exceed `max_pixels`.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.path, self.n_frames, self.seconds = path, 0, 0.0
        self._capture = _open(path)
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        self._announced = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        first = self._next()
        if first is None:
            codec = _codec(self._capture, path)
            self.close()
            raise UserError(f"{path} cannot be read as a film{codec}; convert it, for example to H.264 in .mp4")
        height, width = first.shape[:2]
        if height * width > max_pixels:
            self.close()
            raise UserError(f"{path}: frames larger than {max_pixels / 1e6:g} megapixels: {width} x {height}")
        self.n_pixels, self._first = height * width, first

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    @property
    def announced(self) -> int | None:
        """The number of frames that the file announces, None if it does not say."""
        return self._announced or None

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that can be decoded; the time goes on where one is lost."""
        frame: RGBImage | None = self._first
        pixel = self._pixel_aspect()
        while frame is not None:
            stated = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if self.n_frames:
                self.seconds = stated if stated > self.seconds else self.seconds + 1 / self.fps
            self.n_frames += 1
            yield Frame(_with_square_pixels(frame, *pixel), self.seconds)
            frame = self._next()

    def _next(self) -> RGBImage | None:
        """Return the next frame that can be decoded as RGB, None after the last one."""
        for _ in range(MAX_LOST if self._capture.isOpened() else 0):
            readable, frame = self._capture.read()
            if readable and frame is not None:
                return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        return None

    def missing(self) -> str:
        """Say how many of the announced frames were read, after the last one; empty if none is missing."""
        with self.path.open("rb") as file:
            head = file.read(12)
        if head[4:8] in COUNTED:
            announced = self._announced - _cut_away(self.path) if self.n_frames < self._announced else self._announced
            return f"{self.n_frames} of {announced} frames" if self.n_frames < announced else ""
        end, duration = self.seconds + 1 / self.fps, self._announced / self.fps
        if head[:4] == b"RIFF":  # AVI counts empty frames, too, that repeat the one before
            return f"{self.n_frames} of {self._announced} frames" if duration - end > 1.5 / self.fps else ""
        return f"{end:.1f} of {duration:.1f} seconds" if end < NEARLY * duration else ""

    def _pixel_aspect(self) -> tuple[float, float]:
        """Return by how much a frame is to be stretched in x and y; OpenCV has turned it upright."""
        above, below = (self._capture.get(key) for key in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
        wide = above / below if above > 0 and below > 0 else 1.0
        lying = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
        return (1.0, wide) if lying else (wide, 1.0)


def _open(path: Path) -> cv2.VideoCapture:
    """Open a film; by an absolute path, because OpenCV takes `a:b.mp4` for an address and `a%d.mp4` for a sequence."""
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    return capture if capture.isOpened() else cv2.VideoCapture(str(path.absolute()))


def _codec(capture: cv2.VideoCapture, path: Path) -> str:
    """Name the codec of a film that cannot be decoded, if it can be found out."""
    number = int(capture.get(cv2.CAP_PROP_FOURCC)) if capture.isOpened() else 0
    codes = [(number & 0xFFFFFFFF).to_bytes(4, "little")] if number else []
    with suppress(OSError, ValueError), path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        codes += [match[1] for match in SAMPLE_FORMAT.finditer(content) if match[1] not in NO_VIDEO]
    return f": OpenCV cannot decode its codec, {codes[0].decode('latin-1').strip()}" if codes else ""


def _with_square_pixels(image: RGBImage, x: float, y: float) -> RGBImage:
    if x == y:
        return image
    size = max(round(image.shape[1] * x), 1), max(round(image.shape[0] * y), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _cut_away(path: Path) -> int:
    """Return how many frames an edit list hides, as where a phone has trimmed a film; 0 without the package av."""
    try:
        av: Any = import_module("av")
    except ImportError:
        return 0
    try:
        with av.open(str(path.absolute())) as container:
            return sum(packet.is_discard for packet in container.demux(video=0))
    except av.FFmpegError:  # of a damaged film
        return 0
