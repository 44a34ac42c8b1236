"""The types that the stages of the preparation pass to each other, and the protocols of their plug-ins."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression

ACTIVE_AUS = "active_aus"  # attribute: the AUs that a face truly shows, such as "6;12"


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled image of a dataset; coordinates are x, y in pixels of the image on disk.

    `path` is relative to the dataset's root. `split` is "train", "validation" or "test", as the dataset gives it.
    `box` is x0, y0, x1, y1; `points5` (5, 2) are eye, eye, nose, mouth corner, mouth corner, image-left one first;
    `landmarks` (68, 2) in iBUG order. `identity` names the person if the dataset knows it; `attributes` such as gender
    are words, and include ACTIVE_AUS if the dataset knows them. `votes` (7,) are those of several annotators in the
    order of `Expression`, as counts or shares.
    """

    id: str
    path: str
    expression: Expression
    split: str
    box: NDArray[np.float64] | None = None
    points5: NDArray[np.float64] | None = None
    landmarks: NDArray[np.float64] | None = None
    identity: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    votes: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Count:
    """How many images a source found in one split and class, beside the number that the official release has."""

    split: str
    expression: Expression
    found: int
    expected: int | None


class Source(Protocol):
    """A dataset on disk: a module in `pipeline/sources`.

    A source whose images are no files of their own also has `read_image(root, path)`: it returns the image of a
    sample's path as RGB (h, w, 3), uint8, or None where the path is that of an image file. It raises
    `pipeline.storage.images.Unreadable` with the reason where there is no image. A source of drawn faces says so by
    `DOMAIN = "drawings"`, so that networks trained on it warn when they are shown photographs.
    """

    LAYOUT: str  # the layout of the folder and where to request the dataset; shown if it is missing
    EXPECTED: Mapping[tuple[str, Expression], int]  # official counts by (split, expression); empty if there are none

    def read(self, root: Path) -> Iterator[Sample]:
        """Yield every usable sample; raise UserError on another layout, an unknown label or a missing annotation."""
        ...


# Steps of detectors that take for a face what their full threshold does not, and how.
DOUBTFUL_STEPS = {
    "low_threshold": "at a lowered threshold of the detector",
    "box": "by FaceMesh in the dataset's box",
    "whole_image": "by FaceMesh in the whole image",
}


@dataclass(frozen=True, eq=False)
class Detection:
    """A detected face: box x0, y0, x1, y1 and five points (5, 2), in pixels of the image, and how it was found."""

    box: NDArray[np.float64]
    points5: NDArray[np.float64]
    status: str  # "ok", or "several" if others were found too
    step: str  # which step of the detector's chain found it: "plain", "upsampled", ...
    score: float = math.nan  # the detector's own measure of certainty, NaN if it has none


class Detector(Protocol):
    """Face box and five points: a module in `pipeline/detectors`; its options are keyword arguments with defaults."""

    def detect(self, image: NDArray[np.uint8], sample: Sample, **options: str) -> Detection | None:
        """Return the face of an RGB image (h, w, 3) that fits the sample, or None."""
        ...


@dataclass(frozen=True, eq=False)
class AlignedFaces:
    """The n aligned faces of a shard, the input of an extractor; coordinates are pixels of the crop.

    `status` says how each was aligned (see `pipeline.align`): "ok" and "several" have their five points near the
    `template` (5, 2). `boxes` (n, 4) and the dataset's own `source_landmarks` (n, 68, 2) are NaN where
    unknown. `image(i)` decodes face i, RGB (size, size, 3), and `view(i)` a wider cut of its image, to which
    `view_matrix` (2, 3) maps the crop; both raise for an "unreadable" one.
    """

    ids: Sequence[str]
    status: Sequence[str]
    boxes: NDArray[np.float32]
    source_landmarks: NDArray[np.float32]
    size: int
    template: NDArray[np.float64]
    view_matrix: NDArray[np.float64]
    image: Callable[[int], NDArray[np.uint8]]
    view: Callable[[int], NDArray[np.uint8]]

    def on_template(self, row: int) -> bool:
        """Return whether a face was turned to the template."""
        return self.status[row] in ("ok", "several")

    def part(self, start: int, stop: int) -> "AlignedFaces":
        """Return the faces of the rows from `start` to before `stop`."""
        rows = slice(start, stop)
        return replace(
            self,
            ids=self.ids[rows],
            status=self.status[rows],
            boxes=self.boxes[rows],
            source_landmarks=self.source_landmarks[rows],
            image=lambda row: self.image(start + row),
            view=lambda row: self.view(start + row),
        )


@dataclass(frozen=True, eq=False)
class Landmarks:
    """68 landmarks of n aligned faces: points (n, 68, 2) in crop pixels, NaN where there are none.

    `status` is "ok", or says why there are none or how else they were found; `quality` (n,) lies in [0, 1], NaN where
    unknown.
    """

    points: NDArray[np.float32]
    status: Sequence[str]
    quality: NDArray[np.float32]


class Extractor(Protocol):
    """68 landmarks of aligned faces: a module in `pipeline/extractors`; its options are keyword arguments."""

    def extract(self, faces: AlignedFaces, **options: str) -> Landmarks:
        """Find the landmarks of all faces; raise UserError on a wrong option or a missing file."""
        ...
