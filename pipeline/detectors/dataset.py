"""The face box and five points of the dataset itself; the image is not searched."""

import numpy as np

from pipeline.geometry import Image, box_around, complete, five_points
from pipeline.types import Detection, Sample


def detect(image: Image, sample: Sample) -> Detection | None:
    """Return the sample's own five points, else those of its 68 landmarks; None if it has neither.

    A face without a box gets the one that fits its points. A sample with only a box is no detection:
    `pipeline.align` falls back to the box.
    """
    points = sample.points5
    if points is None and sample.landmarks is not None:
        points = five_points(sample.landmarks)
    if points is None or not complete(points) or not np.ptp(points, axis=0).any():  # some files hold zeros for "none"
        return None
    return Detection(box_around(points) if sample.box is None else sample.box, points, "ok", "dataset")
