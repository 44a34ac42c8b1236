"""Hard versions of pictures whose five points stay known: turned, small, dark, covered, blurred, cut off; groups."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.geometry import Image, Points, transform
from pipeline.storage import images

SIDE = 350  # of a picture of one face, pixels
PHOTO = 960, 1280  # height and width of a photograph
LARGE = 200  # side of a face that is not small, pixels
FACE = 2.5  # side of a face in units of the distance of its eyes
GREY = (128, 128, 128)

Hard = tuple[Image, Points]  # a picture and its five points (5, 2)
Draw = Callable[[Image, Points, np.random.Generator], Hard]


def place(
    canvas: Image,
    face: Image,
    points: Points,
    centre: ArrayLike,
    side: float,
    *,
    angle: float = 0.0,
    squeeze: float = 1.0,
) -> Points:
    """Draw a picture of a face onto a canvas, the face with `side` pixels at `centre`; return its five points there."""
    scale = side / (FACE * float(np.linalg.norm(points[1] - points[0])))
    turn = np.deg2rad(angle)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation * np.array([squeeze, 1.0])
    matrix = np.column_stack([linear, np.asarray(centre) - linear @ points[:3].mean(0)])
    sharp = cv2.GaussianBlur(face, (0, 0), 0.4 / scale) if scale < 0.5 else face
    height, width = canvas.shape[:2]
    drawn = cv2.warpAffine(sharp, matrix, (width, height), flags=cv2.INTER_LINEAR)
    covered = cv2.warpAffine(np.full(face.shape[:2], 255, np.uint8), matrix, (width, height))
    canvas[covered > 127] = drawn[covered > 127]
    return transform(matrix, points)


def _alone(face: Image, points: Points, *, side: float = LARGE, angle: float = 0.0, squeeze: float = 1.0) -> Hard:
    canvas = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    return canvas, place(canvas, face, points, (SIDE / 2, SIDE / 2), side, angle=angle, squeeze=squeeze)


def _lit(image: NDArray[Any], gain: float | NDArray[Any] = 1.0) -> Image:
    return np.asarray(np.clip(image * gain, 0, 255), np.uint8)


def _turned(angle: float) -> Draw:
    return lambda face, points, rng: _alone(face, points, angle=angle)


def _small(side: float) -> Draw:
    return lambda face, points, rng: _alone(face, points, side=side)


def _dark(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    image, placed = _alone(face, points)
    return _lit(0.12 * image + rng.normal(0, 3, image.shape)), placed


def _backlit(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    image, placed = _alone(face, points)
    ramp = np.linspace(0.15, 1.4, SIDE)[None, :, None]
    return _lit(image, ramp), placed


def _squeezed(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    return _alone(face, points, squeeze=0.55)


def _blurred(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    image, placed = _alone(face, points)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), LARGE / 40), np.uint8), placed


def _noisy(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    image, placed = _alone(face, points)
    return _lit(image + rng.normal(0, 40, image.shape)), placed


def _compressed(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    image, placed = _alone(face, points)
    small = cv2.resize(image, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    poor = images.decode(images.encode(np.asarray(small, np.uint8), 8))
    return np.asarray(cv2.resize(poor, (SIDE, SIDE)), np.uint8), placed


def _covered(corners: Callable[[Points], Points], colour: tuple[int, int, int]) -> Draw:
    def draw(face: Image, points: Points, rng: np.random.Generator) -> Hard:
        image, placed = _alone(face, points)
        return np.asarray(cv2.fillPoly(image, [np.rint(corners(placed)).astype(np.int32)], colour), np.uint8), placed

    return draw


def _across(points: Points, left: float, right: float, top: float, bottom: float) -> Points:
    """Corners of a box along the eyes, in units of their distance, from the middle between them."""
    along = points[1] - points[0]
    down = np.array([-along[1], along[0]])
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    middle = points[:2].mean(0)
    return np.array([middle + x * along + y * down for x, y in corners])


def _cut_off(face: Image, points: Points, rng: np.random.Generator) -> Hard:
    """Cut the picture at the middle of the cheeks and through the mouth."""
    image, placed = _alone(face, points)
    box = _across(placed, -0.85, 0.85, -0.6, 1.15)
    (left, top), (right, bottom) = np.rint(box.min(0)).astype(int), np.rint(box.max(0)).astype(int)
    return np.ascontiguousarray(image[top:bottom, left:right]), placed - (left, top)


HARD: Mapping[str, Draw] = {
    **{f"turned {angle} degrees": _turned(angle) for angle in (30, 60, 90, 180)},
    **{f"{side} px in a picture of {SIDE}": _small(side) for side in (40, 32, 24, 16)},
    "dark": _dark,
    "backlit": _backlit,
    "squeezed to .55": _squeezed,
    "mask below the nose": _covered(lambda points: _across(points, -0.9, 0.9, 0.65, 1.7), (190, 205, 215)),
    "sunglasses": _covered(lambda points: _across(points, -0.85, 0.85, -0.25, 0.25), (15, 15, 15)),
    "half of the face": _covered(lambda points: _across(points, 0.1, 1.3, -1.2, 1.7), GREY),
    "blurred": _blurred,
    "noisy": _noisy,
    "compressed": _compressed,
    "cut off": _cut_off,
}


def photograph(face: Image, points: Points, side: float, rng: np.random.Generator) -> Hard:
    """Draw a face of `side` pixels somewhere in a photograph's size of blurred colours."""
    height, width = PHOTO
    canvas = background(rng, height, width)
    centre = rng.uniform(side, (width - side, height - side))
    return canvas, place(canvas, face, points, centre, side)


def background(rng: np.random.Generator, height: int, width: int) -> Image:
    """Draw smooth random colours with edges, in which there is no face."""
    low = rng.integers(40, 220, (6, 8, 3), dtype=np.uint8)
    canvas = cv2.resize(low, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        first, second = rng.integers(0, (width, height), (2, 2)).tolist()
        cv2.rectangle(canvas, first, second, rng.integers(0, 255, 3).tolist(), int(rng.integers(1, 9)))
    return np.asarray(canvas, np.uint8)


def near_and_far(faces: Sequence[Hard], rng: np.random.Generator) -> tuple[Image, Points]:
    """Draw nine faces: one of 330 px and eight of a third of its size around it; points (9, 5, 2)."""
    height, width = PHOTO
    canvas = background(rng, height, width)
    centres = [(width / 2, height / 2)]
    centres += [(x, y) for x in (150, width - 150) for y in (130, 360, 600, 830)]
    sides = [330] + [110] * 8
    shots = zip(faces, centres, sides, strict=True)
    return canvas, np.array([place(canvas, *face, centre, side) for face, centre, side in shots])


def in_rows(faces: Sequence[Hard], rng: np.random.Generator) -> tuple[Image, Points]:
    """Draw twelve faces of 120 px in three rows; points (12, 5, 2)."""
    height, width = PHOTO
    canvas = background(rng, height, width)
    centres = [((column + 0.5) * width / 4, (row + 0.5) * height / 3) for row in range(3) for column in range(4)]
    return canvas, np.array([place(canvas, *face, centre, 120) for face, centre in zip(faces, centres, strict=True)])
