"""Faces of a film keep their numbers from frame to frame, until a cut."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.explain.explanation import Points, RGBImage
from pipeline.geometry import overlap

MIN_OVERLAP = 0.3  # intersection over union of two boxes of the same face
MAX_GAP = 15  # frames without a face after which its number is retired
SIDE = 16  # of the small pictures that are compared
CUT = 25.0  # mean change of a frame's pixels, of 255, that is a cut
CHANGED = 6.0  # and the change from which a cut to a similar picture is possible
# Correlation of two aligned faces. Of one person in slightly different light and position 95 % were above 0.85, of two
# persons half were below 0.64 (70 photographs).
ALIKE_AFTER_CHANGE = 0.8
ALIKE = 0.5

Thumbnail = NDArray[np.float32]


class Seen(NamedTuple):
    """A face when it was last seen: the number of the frame, its box there, and what it looked like."""

    frame: int
    box: Points
    look: Thumbnail


class FaceTracker:
    """Gives a face the number of the earlier one that it overlaps most and looks like, or a new one, from 1 on.

    `n_faces` counts the numbers. All end at a cut, where the whole frame changes.
    """

    def __init__(self) -> None:
        self.n_faces = 0
        self._last_seen: dict[int, Seen] = {}
        self._last_frame: Thumbnail | None = None

    def assign(self, frame: int, image: RGBImage, boxes: Sequence[Points], faces: Sequence[RGBImage]) -> list[int]:
        """Return the number of each face of a frame; the largest overlaps are assigned first.

        `image` is the frame, `faces` are the aligned faces in it.
        """
        change = self._change(image)
        self._last_seen = {
            number: seen for number, seen in self._last_seen.items() if change < CUT and frame - seen.frame <= MAX_GAP
        }
        now = [Seen(frame, box, _look(face)) for box, face in zip(boxes, faces, strict=True)]
        numbers = self._matches(now, ALIKE if change < CHANGED else ALIKE_AFTER_CHANGE)
        for place in range(len(now)):
            if place not in numbers:
                self.n_faces += 1
                numbers[place] = self.n_faces
        self._last_seen |= {numbers[place]: seen for place, seen in enumerate(now)}
        return [numbers[place] for place in range(len(now))]

    def _matches(self, now: Sequence[Seen], alike: float) -> dict[int, int]:
        """Return the earlier numbers by the place of the face."""
        pairs = [
            (shared, place, number)
            for place, face in enumerate(now)
            for number, seen in self._last_seen.items()
            if (shared := overlap(face.box, seen.box)) >= MIN_OVERLAP and float((face.look * seen.look).sum()) >= alike
        ]
        numbers: dict[int, int] = {}
        for _, place, number in sorted(pairs, reverse=True):
            if place not in numbers and number not in numbers.values():
                numbers[place] = number
        return numbers

    def _change(self, image: RGBImage) -> float:
        """Return the mean change of a frame against the one before, apart from its brightness."""
        small = _shrunk(image)
        small -= small.mean(axis=(0, 1))
        before, self._last_frame = self._last_frame, small
        return 0.0 if before is None else float(np.abs(small - before).mean())


def _shrunk(image: RGBImage) -> Thumbnail:
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _look(face: RGBImage) -> Thumbnail:
    """Return a small grey picture of a face whose product with another one is their correlation."""
    grey = _shrunk(np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), np.uint8))
    grey -= grey.mean()
    length = float(np.linalg.norm(grey))
    return grey / length if length else np.full_like(grey, 1 / SIDE)
