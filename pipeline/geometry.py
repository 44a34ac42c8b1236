"""Similarity transforms, the alignment template, warping: pure functions on points and pixels.

A coordinate is x, y in pixels and an integer is a pixel's centre, so a point p of an image of side s lies at
(p + 0.5) * t / s - 0.5 in the same image at side t.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Item = TypeVar("Item")

# Image-left eye, the other eye, nose, mouth corners in a 112-px crop (published code).
TEMPLATE_112 = np.array(
    [
        [38.29459953, 51.69630051],
        [73.53179932, 51.50139999],
        [56.02519989, 71.73660278],
        [41.54930115, 92.36550140],
        [70.72990036, 92.20410156],
    ]
)

# Where a face detector's box (brows to chin) lies around the template: median of 1,228 faces found by dlib.
FACE_BOX_112 = np.array([16.5, 30.5, 96.5, 110.5])

# The published crop ends above the chin: of 418 real faces it holds 94 % of the 68 points, and 2 % of the chins. The
# mode "face" shrinks its content and moves it up, so that the crop holds 99.98 % of the points.
MODES = ("face", "corrected", "published")
FACE_SCALE, FACE_SHIFT = 0.8, np.array([11.1, 4.4])

# What landmark networks see, around the same template: the face with the margin that they were trained with.
VIEW_112 = np.array([[-27.5, -22.0], [140.5, 146.0]])
LARGEST_VIEW = 320  # pixels

# The landmark of the iBUG 68 that takes the place of each when a face is mirrored.
MIRROR_68 = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31),  # bridge of the nose
        *range(35, 30, -1),  # nostrils
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lip
        *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lip
    ]
)


def rescale(points: ArrayLike, from_size: ArrayLike, to_size: ArrayLike) -> Points:
    """Move points (..., 2) of an image to the same image at another size; a size is a side or (width, height)."""
    return np.asarray((np.asarray(points) + 0.5) * (np.asarray(to_size) / np.asarray(from_size)) - 0.5, np.float64)


def template(size: int, mode: str = "face") -> Points:
    """Return the five template points (5, 2) in a crop of `size`: crops of every size show the same window.

    `mode` is one of MODES. The published code multiplies by size / 112, which is half a pixel less at 224.
    """
    return _in_crop(TEMPLATE_112, size, mode)


def box_around(points5: ArrayLike) -> Points:
    """Return about where the box x0, y0, x1, y1 of a face with these five points (5, 2) lies."""
    return transform_box(similarity(TEMPLATE_112, points5), FACE_BOX_112)


def face_box(size: int, mode: str = "face") -> Points:
    """Return where the box x0, y0, x1, y1 of an aligned face lies approximately in a crop of `size`."""
    return _in_crop(FACE_BOX_112.reshape(2, 2), size, mode).reshape(4)


def view_side(size: int, mode: str = "face") -> int:
    """Return the side of the view that belongs to a crop of `size`, in pixels: as sharp as the crop up to a limit."""
    return min(round(float(np.ptp(_in_crop(VIEW_112, size, mode)[:, 0]))), LARGEST_VIEW)


def view_matrix(size: int, mode: str = "face") -> Points:
    """Return the matrix (2, 3) from a crop of `size` to its view, which shows more of the image around the face."""
    side = view_side(size, mode)
    return similarity(_in_crop(VIEW_112, size, mode), np.array([[-0.5, -0.5], [side - 0.5, side - 0.5]]))


def _in_crop(points: Points, size: int, mode: str) -> Points:
    """Move points of the 112-px template to a crop."""
    if mode == "published":
        return points * (size / 112)
    return rescale(FACE_SCALE * points + FACE_SHIFT if mode == "face" else points, 112, size)


def five_points(landmarks: ArrayLike) -> Points:
    """Reduce 68 landmarks to the eyes' centres, the nose's tip and the mouth's corners (5, 2), image-left first."""
    points = np.asarray(landmarks, np.float64)
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


def complete(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which faces of (..., n, 2) have all their points; a missing one is NaN or infinite."""
    return np.asarray(np.isfinite(points).all(axis=(-2, -1)), np.bool_)


def similarity(source: ArrayLike, target: ArrayLike) -> Points:
    """Return the rotation, scale and shift (2, 3) that bring points (n, 2) closest to others in least squares.

    Raises ValueError if the source points coincide or are not finite.
    """
    start, end = (np.ascontiguousarray(points, np.float64).view(np.complex128)[:, 0] for points in (source, target))
    if not np.isfinite(start).all() or np.ptp(start.real) + np.ptp(start.imag) == 0:
        raise ValueError("a similarity needs at least two distinct, finite points")
    offset = start - start.mean()
    turn = np.vdot(offset, end - end.mean()) / np.vdot(offset, offset).real
    shift = end.mean() - turn * start.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def transform(matrix: ArrayLike, points: ArrayLike) -> Points:
    """Apply a matrix (2, 3) to points (..., 2)."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2], np.float64)


def compose(second: ArrayLike, first: ArrayLike) -> Points:
    """Return the matrix (2, 3) that applies `first`, then `second`."""
    second, first = np.asarray(second, np.float64), np.asarray(first, np.float64)
    return np.column_stack([second[:, :2] @ first[:, :2], transform(second, first[:, 2])])


def invert(matrix: ArrayLike) -> Points:
    """Return the matrix (2, 3) that undoes another."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(matrix, np.float64)), np.float64)


def scale_of(matrix: ArrayLike) -> float:
    """Return how many pixels of the target one pixel of the source becomes, along a side."""
    return float(np.sqrt(abs(np.linalg.det(np.asarray(matrix, np.float64)[:, :2]))))


def transform_box(matrix: ArrayLike, box: ArrayLike) -> Points:
    """Move a box x0, y0, x1, y1 by its centre and sides (scales of the axes); it stays upright under rotation."""
    matrix = np.asarray(matrix, np.float64)
    corners = np.asarray(box, np.float64).reshape(2, 2)
    centre = transform(matrix, corners.mean(0))
    half = np.hypot(matrix[:, 0], matrix[:, 1]) * (corners[1] - corners[0]) / 2
    return np.concatenate([centre - half, centre + half])


def overlap(first: Points, second: Points) -> float:
    """Intersection over union of two boxes; both edges belong to a box, as the published code counts."""
    return float(overlaps(first, second[None])[0])


def overlaps(box: Points, others: Points) -> Points:
    """Intersection over union of a box with each of the others (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + 1
    common = np.maximum(sides, 0).prod(1)
    areas = np.maximum(others[:, 2:] - others[:, :2] + 1, 0).prod(1)
    union = areas + np.maximum(box[2:] - box[:2] + 1, 0).prod() - common
    return np.where(common > 0, common / np.where(union > 0, union, 1), 0.0)


def distinct(items: Iterable[Item], box: Callable[[Item], Points], limit: float = 0.5) -> list[Item]:
    """Keep the items whose box x0, y0, x1, y1 shares less than `limit` of the smaller area with each one before it.

    The union would not do: a false face on the cheek of a large one overlaps it little.
    """
    kept: list[Item] = []
    for item in items:
        if all(_shared(box(item), box(other)) < limit for other in kept):
            kept.append(item)
    return kept


def _shared(first: Points, second: Points) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    smaller = min(float(np.prod(one[2:] - one[:2])) for one in (first, second))
    return float(np.prod(np.maximum(sides, 0))) / smaller if smaller > 0 else 0.0


def warp(
    image: Image, matrix: ArrayLike, size: int, *, antialias: bool = True, border: int = cv2.BORDER_CONSTANT
) -> Image:
    """Draw the image through `matrix` (image to crop) on a square of `size`, bilinear.

    Outside the image it is black, or as OpenCV's `border` says.

    Where the crop is much smaller than what it shows, bilinear sampling would skip pixels: the crop is drawn k times
    larger and averaged, where k is the reduction, rounded.
    """
    matrix = np.asarray(matrix, np.float64)
    times = int(np.clip(round(1 / scale_of(matrix)), 1, 16)) if antialias else 1
    enlarged = matrix * times
    enlarged[:, 2] += (times - 1) / 2  # a pixel's centre, half-pixel rule
    drawn = cv2.warpAffine(image, enlarged, (size * times, size * times), flags=cv2.INTER_LINEAR, borderMode=border)
    if times > 1:
        drawn = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(drawn, np.uint8)
