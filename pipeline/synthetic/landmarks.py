"""The 68 iBUG landmarks of an average face at rest, and which of them mirror each other.

Head frame of the whole package: the origin is between the eyes, x points right in the image, y down, z to the camera;
1 is the distance between the outer corners of the eyes (landmarks 36 and 45).
"""

import numpy as np
from numpy.typing import NDArray

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

_PAIRS = [
    (0, 16), (1, 15), (2, 14), (3, 13), (4, 12), (5, 11), (6, 10), (7, 9),
    (17, 26), (18, 25), (19, 24), (20, 23), (21, 22), (31, 35), (32, 34),
    (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65),
]
# fmt: on

JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)


def _mirror() -> NDArray[np.intp]:
    order = np.arange(68)
    for left, right in _PAIRS:
        order[left], order[right] = right, left
    return order


MIRROR = _mirror()  # MIRROR[i] is the landmark that takes the place of i in a mirrored face


def average() -> NDArray[np.float32]:
    """Return the average face at rest, mirror-symmetric: (68, 2)."""
    points = np.zeros((68, 2), np.float32)
    for landmark, (x, y) in REST.items():
        points[MIRROR[landmark]] = -x, y
        points[landmark] = x, y
    return points
