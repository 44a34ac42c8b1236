"""What each facial action unit does to the landmarks, and which ones make up an expression.

The displacements are set by hand after the descriptions in the Facial Action Coding System (Ekman and Friesen, 1978);
they were not measured on people. Unit: the distance between the outer corners of the eyes.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from pipeline.geometry import MIRROR_68

ACTIVE = 0.25  # an AU counts as active from this intensity on

# fmt: off
# AU -> image-left or midline landmark -> (dx, dy) at intensity 1; +x points to the midline, +y down.
DISPLACEMENTS: dict[int, dict[int, tuple[float, float]]] = {
    1: {21: (-0.005, -0.115), 20: (0, -0.085), 19: (0, -0.035), 38: (0, -0.008)},
    2: {17: (0, -0.075), 18: (0, -0.11), 19: (0, -0.095), 20: (0, -0.035)},
    4: {
        21: (0.038, 0.075), 20: (0.036, 0.065), 19: (0.025, 0.045), 18: (0.015, 0.02),
        38: (0, 0.012), 37: (0, 0.006),
    },
    5: {37: (0, -0.05), 38: (0, -0.052), 41: (0, 0.008), 40: (0, 0.008)},
    6: {
        41: (0, -0.024), 40: (0, -0.022), 37: (0, 0.012), 36: (0, -0.005),
        17: (0, 0.012), 18: (0, 0.01),
    },
    7: {37: (0, 0.022), 38: (0, 0.024), 41: (0, -0.026), 40: (0, -0.026)},
    9: {
        31: (0, -0.05), 32: (0, -0.045), 33: (0, -0.03), 30: (0, -0.03), 29: (0, -0.015),
        21: (0.035, 0.06), 20: (0.03, 0.05), 19: (0.015, 0.03),
        49: (0, -0.045), 50: (0, -0.06), 51: (0, -0.05), 61: (0, -0.032), 62: (0, -0.045),
        38: (0, 0.018), 37: (0, 0.012), 40: (0, -0.02), 41: (0, -0.02),
    },
    10: {
        31: (-0.012, -0.02), 49: (-0.01, -0.07), 50: (0, -0.075), 51: (0, -0.06),
        61: (0, -0.042), 62: (0, -0.058), 48: (0, -0.012),
    },
    12: {
        48: (-0.105, -0.1), 60: (-0.095, -0.085), 49: (-0.06, -0.05), 59: (-0.06, -0.05),
        50: (-0.015, -0.012), 58: (-0.02, -0.008), 61: (-0.03, -0.02), 67: (-0.03, -0.012),
        31: (-0.02, -0.012), 3: (-0.012, 0), 4: (-0.015, 0),
    },
    15: {
        48: (-0.015, 0.085), 60: (-0.012, 0.07), 49: (-0.005, 0.03), 59: (-0.012, 0.055),
        61: (0, 0.006), 67: (0, 0.006), 58: (0, 0.01),
    },
    16: {57: (0, 0.055), 58: (0, 0.055), 59: (-0.005, 0.035), 66: (0, 0.06), 67: (0, 0.055)},
    17: {
        57: (0, -0.03), 58: (0, -0.03), 59: (0, -0.015), 66: (0, -0.018), 67: (0, -0.018),
        62: (0, -0.018), 61: (0, -0.015), 50: (0, -0.012), 51: (0, -0.012),
        48: (0, 0.02), 60: (0, 0.015), 8: (0, -0.025), 7: (0, -0.02),
    },
    20: {
        48: (-0.1, 0.025), 60: (-0.095, 0.02), 49: (-0.065, 0.012), 59: (-0.065, -0.005),
        58: (-0.02, -0.012), 57: (0, -0.012), 50: (-0.015, 0.008),
        61: (-0.03, 0), 67: (-0.03, 0.012), 66: (0, 0.008), 4: (-0.012, 0.005),
    },
    23: {
        48: (0.035, 0), 60: (0.02, 0), 49: (0.02, 0.02), 50: (0.005, 0.03),
        51: (0, 0.028), 57: (0, -0.032), 58: (0, -0.032), 59: (0.02, -0.02),
    },
    25: {
        61: (0, -0.007), 62: (0, -0.012), 50: (0, -0.008), 51: (0, -0.008),
        66: (0, 0.045), 67: (0, 0.042), 57: (0, 0.035), 58: (0, 0.035), 59: (0, 0.02),
    },
    26: {
        66: (0, 0.21), 67: (-0.012, 0.19), 57: (0, 0.2), 58: (-0.01, 0.19), 59: (0, 0.125),
        48: (0.045, 0.065), 60: (0.045, 0.065), 49: (0.015, 0.01),
        8: (0, 0.19), 7: (0, 0.185), 6: (0, 0.165), 5: (0, 0.13), 4: (0.01, 0.075), 3: (0.01, 0.03),
        **{61: (0, 0.015), 62: (0, -0.006)},  # 61 and 63 lower than 62 would give an M-shaped lip
    },
}

# fmt: on
AUS = tuple(DISPLACEMENTS)


class Part(NamedTuple):
    """One AU of an expression: how often it takes part, and between which intensities it is drawn."""

    au: int
    probability: float
    low: float
    high: float


# fmt: off
# The EMFACS prototypes (Friesen and Ekman, 1983), loosened: each image draws its own subset and strengths.
PROTOTYPES: dict[Expression, tuple[Part, ...]] = {
    Expression.NEUTRAL: (),
    Expression.HAPPINESS: (
        Part(6, 0.9, 0.4, 1), Part(12, 1, 0.45, 1), Part(25, 0.6, 0.4, 1), Part(26, 0.25, 0.1, 0.35),
    ),
    Expression.SADNESS: (
        Part(1, 1, 0.5, 1), Part(4, 0.8, 0.3, 0.8), Part(15, 1, 0.45, 1), Part(17, 0.5, 0.3, 0.9),
    ),
    Expression.SURPRISE: (
        Part(1, 1, 0.5, 1), Part(2, 1, 0.5, 1), Part(5, 0.9, 0.4, 1),
        Part(26, 1, 0.45, 1), Part(25, 0.8, 0.3, 0.6),
    ),
    Expression.ANGER: (
        Part(4, 1, 0.55, 1), Part(5, 0.5, 0.2, 0.6), Part(7, 0.9, 0.4, 1),
        Part(23, 0.9, 0.5, 1), Part(17, 0.3, 0.3, 0.6),
    ),
    Expression.DISGUST: (
        Part(9, 1, 0.5, 1), Part(10, 0.6, 0.3, 1), Part(15, 0.6, 0.3, 0.8),
        Part(16, 0.6, 0.3, 0.8), Part(25, 0.4, 0.3, 0.6), Part(7, 0.3, 0.2, 0.5),
    ),
    Expression.FEAR: (
        Part(1, 1, 0.5, 1), Part(2, 0.8, 0.3, 0.8), Part(4, 0.9, 0.4, 0.9), Part(5, 1, 0.4, 1),
        Part(7, 0.3, 0.1, 0.4), Part(20, 1, 0.5, 1), Part(25, 0.9, 0.5, 1), Part(26, 0.6, 0.1, 0.45),
    ),
}
# fmt: on


@cache
def displacement(au: int) -> NDArray[np.float32]:
    """Return how an AU at intensity 1 on both sides moves the 68 landmarks: (68, 2), x to the right, y down."""
    moved = np.zeros((68, 2), np.float32)
    for landmark, (medial, down) in DISPLACEMENTS[au].items():
        moved[landmark] = medial, down
        if MIRROR_68[landmark] != landmark:
            moved[MIRROR_68[landmark]] = -medial, down
    moved.flags.writeable = False
    return moved
