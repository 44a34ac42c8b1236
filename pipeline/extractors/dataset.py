"""The dataset's own 68 landmarks, carried along by the alignment; nothing is looked for in the image."""

import numpy as np

from pipeline.geometry import complete
from pipeline.types import AlignedFaces, Landmarks


def extract(faces: AlignedFaces) -> Landmarks:
    """Return the landmarks that came with the images; "no_points" where the dataset has none."""
    there = complete(faces.source_landmarks)
    points = np.where(there[:, None, None], faces.source_landmarks, np.nan).astype(np.float32)
    missing = ["unreadable" if placed == "unreadable" else "no_points" for placed in faces.status]
    status = ["ok" if found else why for found, why in zip(there, missing, strict=True)]
    return Landmarks(points, status, np.full(len(status), np.nan, np.float32))
