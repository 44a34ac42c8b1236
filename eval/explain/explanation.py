"""What a network says about one face, and where it looked to say so."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.explain.reading import Reading

RGBImage = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Explanation:
    """One face of an image: the network's answer, its maps, and the maps read in action units.

    `box` is x0, y0, x1, y1 in pixels of the image; `matrix` (2, 3) maps these pixels to those of `face`, the aligned
    face, RGB (224, 224, 3); `status` is that of `pipeline.align`. `probabilities` holds one for each expression,
    calibrated or not as `calibrated` says. `cams` {label: (224, 224) in [0, 1]} holds the class maps of the predicted
    expression and the runner-up, or of all expressions; it is empty for a method without class maps. `attention` is
    {layer: (224, 224) >= 0}, `layer` the deepest guided one. `points` (68, 2) and AU `shapes` (s, 5) are in pixels of
    `face`. `readings` {"cam" or "attention": (predicted expression, runner-up)} and `action_units` {"cam" or
    "attention": a row for each AU} read these maps. Without landmarks both are empty, `points` and `shapes` None.
    """

    box: NDArray[np.float64]
    matrix: NDArray[np.float64]
    face: RGBImage
    status: str
    probabilities: dict[str, float]
    calibrated: bool
    cams: dict[str, Map]
    attention: dict[int, Map]
    layer: int
    points: NDArray[np.float64] | None
    shapes: NDArray[np.float64] | None
    readings: dict[str, tuple[Reading, ...]]
    action_units: dict[str, list[dict[str, Any]]]
    warnings: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable expression."""
        return self.ranked[0]

    @property
    def ranked(self) -> list[str]:
        """All expressions, the most probable first."""
        return sorted(self.probabilities, key=lambda label: -self.probabilities[label])

    @property
    def words(self) -> list[str]:
        """The explanation in sentences: the predicted expression, the runner-up, then the warnings."""
        readings = next(iter(self.readings.values()), ())
        sentences = {reading.expression: f": {reading.words}" for reading in readings}
        first, second = (
            f"{label} {self.probabilities[label]:.2f}{sentences.get(label, '')}" for label in self.ranked[:2]
        )
        return [first, f"runner-up {second}", *(f"warning: {warning}" for warning in self.warnings)]
