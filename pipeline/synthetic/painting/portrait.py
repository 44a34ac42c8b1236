"""What every painter needs to know about the face."""

from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.canvas import Field
from pipeline.synthetic.sampling import Identity, Intensities


@dataclass(frozen=True, eq=False)
class Half:
    """One side of a face: 0 is the image-left one; landmarks in the head frame."""

    side: int
    eye: Field  # (6, 2) in iBUG order: from the image's left corner over the upper lid and back
    resting_eye: Field
    brow: Field  # (5, 2) from its outer to its inner end
    ala: Field  # outer end of the nostril
    mouth_corner: Field
    eye_corner: Field  # the outer one

    @property
    def outwards(self) -> int:
        """The sign of x on this side."""
        return 1 if self.side else -1

    @property
    def socket(self) -> Field:
        """The middle between the resting eye's corners."""
        return np.asarray(self.resting_eye[[0, 3]].mean(0))

    def beside(self, point: Field, outwards: float, down: float) -> Field:
        """Return the place that lies so far outwards and down from a point."""
        return point + np.array([outwards * self.outwards, down], np.float32)


@dataclass(frozen=True, eq=False)
class Portrait:
    """A person and what the face does: landmarks (68, 2) at rest and displaced, in the head frame."""

    identity: Identity
    intensities: Intensities
    gaze: tuple[float, float]
    rest: Field
    landmarks: Field

    def au(self, number: int, side: int | None = None) -> float:
        """Return an AU's intensity on one side, or the mean of both."""
        left, right = self.intensities.get(number, (0.0, 0.0))
        return (left + right) / 2 if side is None else (left, right)[side]

    def halves(self) -> tuple[Half, Half]:
        """Return the image-left and the image-right side."""
        points, rest = self.landmarks, self.rest
        left = Half(0, points[36:42], rest[36:42], points[17:22], points[31], points[48], points[36])
        right = Half(1, points[42:48], rest[42:48], points[26:21:-1], points[35], points[54], points[45])
        return left, right
