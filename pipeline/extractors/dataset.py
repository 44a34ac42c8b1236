"""The dataset's own 68 landmarks, mapped to the crop by the alignment; the image is not searched."""

import numpy as np

from pipeline.geometry import complete
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces) -> Landmarks:
    """Return the landmarks that came with the images; "no_points" where the dataset has none."""
    known = complete(faces.source_landmarks)
    points = np.where(known[:, None, None], faces.source_landmarks, np.nan).astype(np.float32)
    missing = ["unreadable" if placed == "unreadable" else "no_points" for placed in faces.status]
    status = ["ok" if has_points else reason for has_points, reason in zip(known, missing, strict=True)]
    return Landmarks(points, status, np.full(len(status), np.nan, np.float32))
