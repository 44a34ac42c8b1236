"""What a network says about one face, and where it looked to say so."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS, shapes
from eval.explain.conditions import Conditions
from eval.explain.reading import Map, Reading, au_table, read_map
from eval.explain.turning import quarter_turns
from pipeline.geometry import scale_of
from pipeline.types import DOUBTFUL_STEPS
from train.card.schema import Domain, Heatmap

BOX = ("x0", "y0", "x1", "y1")
LOW_PROBABILITY = 0.5  # below which the network is called unsure
SMALLEST = 40  # pixels a side of the crop below which a face is called small
DRAWINGS = "the network was trained on drawn faces; about a photograph its answer means nothing"
RUNNER_UP = 0.05  # probability from which on the second expression is named
MEANING = "This is where the network looked, not which muscles moved (1x: the map's mean on the face)."

Points = NDArray[np.float64]
RGBImage = NDArray[np.uint8]


def percent(probability: float) -> str:
    """Write a probability such as "85 %", and ">99 %" and "<1 %" where rounding would claim certainty."""
    number = round(100 * probability)
    return ">99 %" if number >= 100 else "<1 %" if number <= 0 else f"{number} %"


@dataclass(frozen=True, eq=False)
class Explanation:
    """One face of an image: the network's answer and its maps, and what these say in action units.

    `box` is x0, y0, x1, y1 in pixels of the image; `matrix` (2, 3) maps these pixels to those of `face`, the aligned
    face, RGB (224, 224, 3); `status` is that of `pipeline.align`. `step` and `score` say which step of the detector
    found the face and how certain it was, `quality` is that of the landmarks (NaN if unknown). `probabilities` holds
    one for each expression, calibrated or not as `calibrated` says. `cams` {label: (224, 224) in [0, 1]} holds the
    class maps of the predicted expression and the runner-up, or of all expressions; it is empty for a method without
    class maps. `attention` is {layer: (224, 224) >= 0}, `layer` the deepest guided one. `points` (68, 2) are landmarks
    in pixels of `face`, None if none were found; `heatmap` names codebook and geometry. `domain` is what the network
    was trained on, `conditions` say how the face was seen, None if unknown.
    """

    box: Points
    matrix: Points
    face: RGBImage
    status: str
    step: str
    score: float
    quality: float
    probabilities: dict[str, float]
    calibrated: bool
    cams: dict[str, Map]
    attention: dict[int, Map]
    layer: int
    points: Points | None
    heatmap: Heatmap
    domain: Domain = "photographs"
    conditions: Conditions | None = None

    @property
    def label(self) -> str:
        """The most probable expression."""
        return self.ranked[0]

    @cached_property
    def ranked(self) -> list[str]:
        """All expressions, the most probable first."""
        return sorted(self.probabilities, key=lambda label: -self.probabilities[label])

    @property
    def crop_size(self) -> float:
        """The side of the square in the image that was cut for the network, in its pixels."""
        return CANVAS / scale_of(self.matrix)

    @property
    def detection(self) -> dict[str, str | float | None]:
        """How the face was found, as all files hold it: `step`, `score`, `quality`, `crop_size`; None where unknown."""
        numbers = {"score": self.score, "quality": self.quality}
        known = {name: round(value, 3) if math.isfinite(value) else None for name, value in numbers.items()}
        return {"step": self.step, **known, "crop_size": round(self.crop_size, 1)}

    @property
    def corners(self) -> dict[str, float]:
        """The box in columns of a table, by the names of BOX."""
        return {name: round(float(value), 1) for name, value in zip(BOX, self.box, strict=True)}

    @cached_property
    def shapes(self) -> Points | None:
        """The AU shapes (s, 5) in pixels of `face`, None without landmarks."""
        return None if self.points is None else shapes(self.points, self.heatmap.geometry)

    @cached_property
    def readings(self) -> dict[str, tuple[Reading, ...]]:
        """By map, "cam" and "attention": predicted expression and runner-up; empty without landmarks."""
        if self.points is None or self.shapes is None:
            return {}
        read: dict[str, tuple[Reading, ...]] = {}
        for label in self.ranked[:2]:
            for kind, values in self._maps(label).items():
                reading = read_map(values, Expression.parse(label), self.shapes, self.points, self.heatmap)
                read[kind] = (*read.get(kind, ()), reading)
        return read

    @property
    def shown_readings(self) -> tuple[Reading, ...]:
        """The readings of the class map, or of the attention for a method without class maps."""
        return next(iter(self.readings.values()), ())

    @property
    def action_units(self) -> dict[str, list[dict[str, Any]]]:
        """By map, "cam" and "attention" of the predicted expression: a row for each region; empty without landmarks."""
        if self.points is None or self.shapes is None:
            return {}
        return {
            kind: au_table(values, self.shapes, self.points, self.heatmap)
            for kind, values in self._maps(self.label).items()
        }

    @property
    def warnings(self) -> list[str]:
        """Why the answer or its map may not be trusted."""
        unsure = f"the network is unsure: {'; '.join(map(self._with_probability, self.ranked[:2]))}"
        how = DOUBTFUL_STEPS.get(self.step)
        turned = quarter_turns(self.matrix)
        unread = "no landmarks were found, so the map cannot be read in action units"
        small = f"the face is small: {self.crop_size:.0f} pixels a side were cut out for the network"
        return [
            *([DRAWINGS] if self.domain == "drawings" else []),
            *([f"the face was found only {how}; it may be none"] if how else []),
            *([f"the face lies turned by {turned} degrees in the picture"] if turned else []),
            *([small] if self.crop_size < SMALLEST else []),
            *(self.conditions.warnings if self.conditions else []),
            *([unsure] if self.probabilities[self.label] < LOW_PROBABILITY else []),
            *([unread] if self.points is None else []),
            *(warning for reading in self.shown_readings[:1] for warning in reading.warnings),
        ]

    @property
    def words(self) -> list[str]:
        """The explanation in sentences: the answer, the runner-up from 5 % on, what a map means, then the warnings."""
        sentences = {reading.expression: f". {reading.words}" for reading in self.shown_readings}
        first, second = (self._with_probability(label) + sentences.get(label, "") for label in self.ranked[:2])
        return [
            first,
            *(
                [f"runner-up: {second.replace('The map', 'Its map')}"]
                if self.probabilities[self.ranked[1]] >= RUNNER_UP
                else []
            ),
            *([MEANING] if sentences else []),
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def _with_probability(self, label: str) -> str:
        return f"{label}, {percent(self.probabilities[label])}"

    def _maps(self, label: str) -> dict[str, Map]:
        """Return the maps that are read for an expression."""
        cam = {"cam": self.cams[label]} if self.cams else {}
        return cam | {"attention": self.attention[self.layer]}
