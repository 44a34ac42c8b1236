"""Draw who is seen, what the face does, and how it is lit and photographed; only the AUs depend on the expression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from pipeline.synthetic.au_table import ACTIVE, AUS, PROTOTYPES

Colour = NDArray[np.float32]  # red, green, blue, 0 to 255
Intensities = Mapping[int, tuple[float, float]]  # AU -> (image-left side, image-right side), 0 to 1.2; absent means 0

DISTRACTOR_PROBABILITY = 0.15
DISTRACTOR_HIGHEST = 0.22
SIDE_NOISE = 0.12

_HAIR = ((30, 24, 20), (60, 40, 26), (130, 128, 126), (95, 66, 40), (170, 130, 78), (120, 60, 34))
_IRIS = ((70, 45, 28), (95, 70, 40), (80, 105, 130), (85, 110, 80))
# fmt: off
_PROPORTIONS = {  # mean and standard deviation
    "face_width": (1, 0.05), "jaw_width": (1, 0.06), "chin_length": (0, 0.045),
    "eye_opening": (1, 0.13), "eye_tilt": (0, 0.012), "eye_offset": (0, 0.01),
    "brow_offset": (0, 0.022), "brow_tilt": (0, 0.016), "brow_arch": (0, 0.012),
    "brow_thickness": (0.055, 0.014), "brow_inset": (0, 0.012),
    "nose_width": (1, 0.1), "nose_length": (0, 0.022), "nose_height": (1, 0.15),
    "mouth_width": (1, 0.06), "mouth_offset": (0, 0.018), "mouth_corner": (0, 0.012),
    "upper_lip": (1, 0.25), "lower_lip": (1, 0.2), "cheek": (1, 0.4),
}
_LIMITS = {
    "eye_opening": (0.7, None), "brow_thickness": (0.03, 0.09), "upper_lip": (0.55, None), "lower_lip": (0.55, None),
}
# fmt: on


@dataclass(frozen=True, eq=False)
class Identity:
    """All that stays with a person; lengths in eye distances, widths and heights as factors on the average face."""

    melanin: float  # 0 is the lightest skin, 1 the darkest
    skin: Colour
    face_width: float
    jaw_width: float
    chin_length: float
    eye_opening: float
    eye_tilt: float
    eye_offset: float
    brow_offset: float
    brow_tilt: float
    brow_arch: float
    brow_thickness: float
    brow_inset: float
    nose_width: float
    nose_length: float
    nose_height: float
    mouth_width: float
    mouth_offset: float
    mouth_corner: float
    upper_lip: float
    lower_lip: float
    cheek: float
    age: float
    hair: Colour
    iris: Colour
    lip: Colour  # factors on the skin
    hair_line: float
    hair_volume: float
    long_hair: bool
    parting: float
    bald: bool
    stubble: float
    freckles: float
    asymmetry: NDArray[np.float64]  # (68, 2)
    clothes: Colour
    seed: int  # of the textures

    @property
    def skin_tone(self) -> str:
        """The third of the melanin scale: light, medium or dark."""
        return ("light", "medium", "dark")[min(int(self.melanin * 3), 2)]


@dataclass(frozen=True, eq=False)
class View:
    """How a face is turned, lit and photographed; angles in degrees, positions as parts of the image's side."""

    yaw: float
    pitch: float
    roll: float
    light_azimuth: float
    light_elevation: float
    ambient: float
    specular: float
    exposure: float
    tint: NDArray[np.float64]  # (3,) colour of the light
    gaze: tuple[float, float]
    scale: float
    shift: tuple[float, float]
    blur: float  # pixels
    noise: float  # grey levels
    jpeg_quality: int
    seed: int  # of background and noise


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw a person; skin tones are spread over the whole scale, and nothing here knows the expression."""
    uniform = rng.uniform
    melanin = uniform() ** 0.8
    skin = _skin(melanin, rng)
    hair, iris = _hair_and_iris(melanin, rng)
    return Identity(
        melanin=melanin,
        skin=skin,
        iris=iris,
        **_proportions(rng),
        age=uniform(0.25, 1),
        hair=hair * np.float32(uniform(0.8, 1.2)),
        lip=np.array([uniform(0.80, 0.95), uniform(0.52, 0.68), uniform(0.52, 0.70)], np.float32),
        hair_line=uniform(-0.86, -0.60),
        hair_volume=uniform(0.03, 0.16),
        long_hair=uniform() < 0.4,
        parting=uniform(-0.3, 0.3),
        bald=uniform() < 0.07,
        stubble=uniform(0.1, 0.6) if uniform() < 0.3 else 0.0,
        freckles=uniform(0.02, 0.06),
        asymmetry=0.008 * rng.normal(size=(68, 2)),
        clothes=uniform(20, 220, 3).astype(np.float32),
        seed=int(rng.integers(1 << 31)),
    )


def draw_intensities(rng: np.random.Generator, expression: Expression) -> dict[int, tuple[float, float]]:
    """Draw the AUs of an expression, and weak unrelated ones that every class has and that never become active."""
    parts = {p.au: rng.uniform(p.low, p.high) for p in PROTOTYPES[expression] if rng.random() < p.probability}
    others = [au for au in AUS if au not in parts]
    distractors = {au: rng.uniform(0, DISTRACTOR_HIGHEST) for au in others if rng.random() < DISTRACTOR_PROBABILITY}
    drawn = {au: _two_sides(rng, value, 1.2) for au, value in parts.items()}
    return drawn | {au: _two_sides(rng, value, ACTIVE - 0.01) for au, value in distractors.items()}


def draw_view(rng: np.random.Generator) -> View:
    """Draw pose, light and camera."""
    normal, uniform = rng.normal, rng.uniform
    return View(
        yaw=uniform(-20, 20),
        pitch=uniform(-10, 10),
        roll=uniform(-10, 10),
        light_azimuth=uniform(-55, 55),
        light_elevation=uniform(5, 55),
        ambient=uniform(0.35, 0.6),
        specular=uniform(0.02, 0.16),
        exposure=uniform(0.8, 1.12),
        tint=1 + 0.05 * normal(size=3),
        gaze=(0.014 * normal(), 0.008 * normal()),
        scale=uniform(0.28, 0.34),
        shift=(0.03 * normal(), 0.03 * normal()),
        blur=uniform(0, 0.9),
        noise=uniform(1, 6),
        jpeg_quality=int(uniform(55, 95)),
        seed=int(rng.integers(1 << 31)),
    )


def active(intensities: Intensities) -> list[int]:
    """List the AUs whose mean over both sides counts as active, in ascending order."""
    return sorted(au for au, sides in intensities.items() if sum(sides) / 2 >= ACTIVE)


def _proportions(rng: np.random.Generator) -> dict[str, Any]:
    drawn = {name: mean + deviation * rng.normal() for name, (mean, deviation) in _PROPORTIONS.items()}
    return drawn | {name: float(np.clip(drawn[name], *limits)) for name, limits in _LIMITS.items()}


def _skin(melanin: float, rng: np.random.Generator) -> Colour:
    light, dark = np.array([255, 222, 198]), np.array([92, 58, 42])
    hue = np.array([1, rng.uniform(0.95, 1.03), rng.uniform(0.9, 1.06)])
    return np.asarray(np.clip((light * (1 - melanin) + dark * melanin) * hue, 25, 255), np.float32)


def _hair_and_iris(melanin: float, rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Fair hair and light eyes go with fair skin only, for looks."""
    fair = rng.uniform() < 0.75 * (1 - melanin) ** 1.5
    hair_odds = (0.1, 0.2, 0.1, 0.3, 0.2, 0.1) if fair else (0.6, 0.3, 0.1, 0, 0, 0)
    iris_odds = (0.25, 0.2, 0.35, 0.2) if fair else (0.8, 0.2, 0, 0)
    hair = _HAIR[rng.choice(len(_HAIR), p=hair_odds)]
    iris = _IRIS[rng.choice(len(_IRIS), p=iris_odds)]
    return np.array(hair, np.float32), np.array(iris, np.float32)


def _two_sides(rng: np.random.Generator, value: float, highest: float) -> tuple[float, float]:
    left, right = np.clip(value * (1 + SIDE_NOISE * rng.normal(size=2)), 0, highest)
    return float(left), float(right)
