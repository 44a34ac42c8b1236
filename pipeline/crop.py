"""One face turned upright and cut out of its image: the crop that networks see, and the view for landmarks."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image as Pillow

from pipeline.geometry import (
    Image,
    Points,
    compose,
    face_box,
    similarity,
    template,
    transform_box,
    view_matrix,
    view_side,
    warp,
)
from pipeline.types import Detection


@dataclass(frozen=True, eq=False)
class Crop:
    """One aligned face: its picture (size, size, 3) and its view, None if unreadable, and its origin."""

    status: str
    image: Image | None = None
    view: Image | None = None
    matrix: Points | None = None
    box: Points | None = None  # in crop pixels
    step: str = ""
    score: float = math.nan


def crop_face(
    image: Image, detection: Detection | None, box: Points | None = None, *, size: int, mode: str = "face"
) -> Crop:
    """Turn the detected face of an image (h, w, 3) upright and cut it out to (size, size, 3); `mode` is one of MODES.

    Without a detection the crop shows the `box` x0, y0, x1, y1, without a box inside the image the whole image. Beyond
    the image the crop is black, and the view continues the edge.
    """
    if detection is not None:
        crop = _on_template(image, detection, size, mode)
    else:
        box = None if box is None else _usable(box, image)
        cut, matrix = (_stretched if mode == "published" else _squared)(image, box, size, mode)
        crop = Crop("whole_image", cut, matrix=matrix)
        if box is not None:
            crop = replace(crop, status="box_fallback", box=transform_box(matrix, box))
    assert crop.matrix is not None
    matrix = compose(view_matrix(size, mode), crop.matrix)
    return replace(crop, view=warp(image, matrix, view_side(size, mode), border=cv2.BORDER_REPLICATE))


def _on_template(image: Image, detection: Detection, size: int, mode: str) -> Crop:
    matrix = similarity(detection.points5, template(size, mode))
    return Crop(
        detection.status,
        warp(image, matrix, size, antialias=mode != "published"),
        matrix=matrix,
        box=transform_box(matrix, detection.box),
        step=detection.step,
        score=detection.score,
    )


def _squared(image: Image, box: Points | None, size: int, mode: str) -> tuple[Image, Points]:
    """Cut out a square with the box where an aligned face has it, or the whole image; no rotation, no stretching."""
    height, width = image.shape[:2]
    source = np.array([0, 0, width, height]) - 0.5 if box is None else box
    target = np.array([0, 0, size, size]) - 0.5 if box is None else face_box(size, mode)
    scale = np.ptp(target[0::2]) / max(np.ptp(source[0::2]), np.ptp(source[1::2]))
    shift = target.reshape(2, 2).mean(0) - scale * source.reshape(2, 2).mean(0)
    matrix = np.column_stack([np.eye(2) * scale, shift])
    return warp(image, matrix, size), matrix


def _stretched(image: Image, box: Points | None, size: int, _mode: str) -> tuple[Image, Points]:
    """Cut out the box in whole pixels, or the whole image, and stretch it to the square (published code)."""
    height, width = image.shape[:2]
    left, top, right, bottom = (0, 0, width, height) if box is None else np.maximum(box, 0).astype(int).tolist()
    part = Pillow.fromarray(image).crop((left, top, right, bottom))
    crop = np.asarray(part.resize((size, size), Pillow.Resampling.LANCZOS))
    scale = np.array([size / (right - left), size / (bottom - top)])
    return crop, np.column_stack([np.diag(scale), scale * (0.5 - np.array([left, top])) - 0.5])


def _usable(box: Points, image: Image) -> Points | None:
    """Return the box if at least one whole pixel of the image lies in it."""
    height, width = image.shape[:2]
    visible = np.clip(np.nan_to_num(box, nan=0.0), 0, [width, height, width, height]).astype(int)
    return box if np.isfinite(box).all() and visible[2] > visible[0] and visible[3] > visible[1] else None
