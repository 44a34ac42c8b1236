"""Where a person's 68 iBUG landmarks are, at rest and with action units on, seen from the front.

Head frame of the whole package: the origin is between the eyes, x points right in the image, y down, z to the camera;
1 is the distance between the outer corners of the eyes (landmarks 36 and 45).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import MIRROR_68
from pipeline.synthetic.au_table import displacement
from pipeline.synthetic.canvas import Field
from pipeline.synthetic.sampling import Identity, Intensities

# fmt: off
# Image-left half and midline. Rounded adult proportions, then moved towards where dlib's model puts the points.
REST: dict[int, tuple[float, float]] = {
    0: (-0.82, -0.03), 1: (-0.82, 0.19), 2: (-0.795, 0.41), 3: (-0.74, 0.63), 4: (-0.645, 0.84),
    5: (-0.515, 1.02), 6: (-0.36, 1.16), 7: (-0.185, 1.26), 8: (0, 1.295),
    17: (-0.645, -0.175), 18: (-0.54, -0.265), 19: (-0.41, -0.29), 20: (-0.28, -0.27), 21: (-0.155, -0.22),
    27: (0, -0.02), 28: (0, 0.115), 29: (0, 0.25), 30: (0, 0.39),
    31: (-0.15, 0.515), 32: (-0.08, 0.54), 33: (0, 0.555),
    36: (-0.5, 0), 37: (-0.405, -0.055), 38: (-0.285, -0.055),
    39: (-0.195, 0.012), 40: (-0.285, 0.045), 41: (-0.405, 0.048),
    48: (-0.29, 0.825), 49: (-0.185, 0.768), 50: (-0.075, 0.735), 51: (0, 0.75),
    57: (0, 0.935), 58: (-0.09, 0.928), 59: (-0.19, 0.895),
    60: (-0.245, 0.826), 61: (-0.095, 0.822), 62: (0, 0.824), 66: (0, 0.828), 67: (-0.095, 0.828),
}
# fmt: on

JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
_LIDS = ((37, 41, 0.026), (38, 40, 0.026), (44, 46, 0.026), (43, 47, 0.026))  # upper, lower, smallest distance
_GAPS = (*_LIDS, (61, 67, 0.004), (62, 66, 0.004), (63, 65, 0.004))
_UPPER_LIP = ((49, 61), (50, 61), (51, 62), (52, 63), (53, 63))  # outer, inner
_LOWER_LIP = ((59, 67), (58, 67), (57, 66), (56, 65), (55, 65))
_LIP_LINE = 0.827  # y at which the lips of the average face meet


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


def average() -> NDArray[np.float32]:
    """Return the average face at rest, mirror-symmetric: (68, 2)."""
    points = np.zeros((68, 2), np.float32)
    for landmark, (x, y) in REST.items():
        points[MIRROR_68[landmark]] = -x, y
        points[landmark] = x, y
    return points


def at_rest(identity: Identity) -> NDArray[np.float64]:
    """Return a person's landmarks without any action unit: (68, 2)."""
    points = average().astype(float)
    start = points.copy()
    _change_jaw(points, identity)
    _change_eyes_and_brows(points, start, identity)
    points[NOSE, 0] *= identity.nose_width
    points[NOSE, 1] += identity.nose_length * np.clip(start[NOSE, 1] / 0.55, 0, 1)
    _change_mouth(points, start, identity)
    points[17:] += identity.asymmetry[17:]
    return points


def with_action_units(rest: NDArray[np.float64], intensities: Intensities) -> NDArray[np.float64]:
    """Move landmarks (68, 2) by each AU's displacement times its intensity on that side; lids and lips never cross."""
    points = rest.copy()
    left = 0.5 - 0.5 * np.sign(average()[:, :1].astype(float))  # share of this side: 1, 0, or a half on the midline
    for au, (on_left, on_right) in intensities.items():
        points += displacement(au) * (on_left * left + on_right * (1 - left))
    for upper, lower, gap in _GAPS:
        if points[lower, 1] - points[upper, 1] < gap:
            middle = (points[upper, 1] + points[lower, 1]) / 2
            points[upper, 1], points[lower, 1] = middle - gap / 2, middle + gap / 2
    for outer, inner in _UPPER_LIP:
        points[outer, 1] = min(points[outer, 1], points[inner, 1] - 0.022)
    for outer, inner in _LOWER_LIP:
        thickness = 0.03 if outer in (56, 57, 58) else 0
        points[outer, 1] = max(points[outer, 1], points[inner, 1] + thickness)
    return points


def _change_jaw(points: NDArray[np.float64], identity: Identity) -> None:
    down = np.clip(points[JAW, 1] / 1.3, 0, 1)
    points[JAW, 0] *= identity.face_width * (1 + (identity.jaw_width - 1) * np.sin(np.pi * down))
    points[JAW, 1] += identity.chin_length * down**2


def _change_eyes_and_brows(points: NDArray[np.float64], start: NDArray[np.float64], identity: Identity) -> None:
    outwards = (np.abs(start[EYES, 0]) - 0.35) / 0.15
    points[EYES, 1] = start[EYES, 1] * identity.eye_opening - identity.eye_tilt * outwards + identity.eye_offset
    along = (np.abs(start[BROWS, 0]) - 0.155) / 0.5  # 0 at the inner end
    points[BROWS, 1] += identity.brow_offset + identity.brow_tilt * (2 * along - 1)
    points[BROWS, 1] -= identity.brow_arch * np.sin(np.pi * along)
    points[BROWS, 0] -= np.sign(start[BROWS, 0]) * identity.brow_inset * (1 - along)


def _change_mouth(points: NDArray[np.float64], start: NDArray[np.float64], identity: Identity) -> None:
    points[MOUTH, 0] *= identity.mouth_width
    points[MOUTH, 1] += identity.mouth_offset + identity.mouth_corner * (np.abs(start[MOUTH, 0]) / 0.3) ** 2
    line = _LIP_LINE + identity.mouth_offset
    for lip, thickness in ((slice(49, 54), identity.upper_lip), (slice(55, 60), identity.lower_lip)):
        points[lip, 1] = line + (points[lip, 1] - line) * thickness
