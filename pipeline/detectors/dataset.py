"""The face box and five points that the dataset ships; nothing is looked for in the image."""

import numpy as np

from pipeline.geometry import FACE_BOX_112, TEMPLATE_112, Image, five_points, similarity, transform_box
from pipeline.types import Detection, Sample


def detect(image: Image, sample: Sample) -> Detection | None:
    """Return the sample's own five points, else those of its 68 landmarks; None if it has neither.

    Without a box of its own the face gets the one that fits its points. A sample with only a box is no detection:
    `pipeline.align` falls back to the box.
    """
    points = sample.points5
    if points is None and sample.landmarks is not None:
        points = five_points(sample.landmarks)
    try:
        matrix = similarity(TEMPLATE_112, points) if points is not None and np.ptp(points, axis=0).any() else None
    except ValueError:
        matrix = None
    if points is None or matrix is None:
        return None
    box = transform_box(matrix, FACE_BOX_112) if sample.box is None else sample.box
    return Detection(box, points, "ok", "dataset")
