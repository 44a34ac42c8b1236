"""Numbers for the faces of a video: a face keeps its number from frame to frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import overlap

MIN_OVERLAP = 0.3  # intersection over union of two boxes of the same face
MAX_GAP = 15  # frames without a face after which its number is retired

Box = NDArray[np.float64]


class FaceTracker:
    """Gives a face the number of the earlier box that it overlaps most, or a new number; `n_faces` counts them."""

    def __init__(self) -> None:
        self.n_faces = 0
        self._last_seen: dict[int, tuple[int, Box]] = {}

    def assign(self, frame: int, boxes: Sequence[Box]) -> list[int]:
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
