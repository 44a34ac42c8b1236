"""Action units to shapes on landmarks, and shapes to the AU heatmap A of an expression (paper, section 3.2).

An AU is one or two ellipses anchored on landmarks; a geometry is the table of them (`au_guidance/geometries`). A face's
shapes are a small array, so heatmaps are stored as shapes and drawn where they are needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from au_guidance.expressions import Expression, codebook
from au_guidance.raster import BACKGROUND, pixels, raster_published, raster_smooth, touched
from au_guidance.tables import TableError, read_table

CANVAS = 224  # side of the canonical canvas, pixels: shapes are stored for it and scores are taken on it
FAR = 30_000  # cv2 draws with 16-bit coordinates; anything beyond is far outside every image

Heatmap = NDArray[np.float32]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Radius:
    """One radius of an ellipse: a length, a fraction of the image, or half the distance between two landmarks."""

    length: float = 0.0
    image: float = 0.0
    span: tuple[int, int] | None = None
    add: float = 0.0
    default: float = 0.0
    least: float = 0.0


@dataclass(frozen=True)
class Ellipse:
    """A row of a geometry: the AU, the landmarks that give the centre's x and y, a shift, two radii."""

    au: int
    x: tuple[int, ...]
    y: tuple[int, ...]
    rx: Radius
    ry: Radius
    dx: Radius
    dy: Radius


@dataclass(frozen=True)
class Geometry:
    """A table of shapes; `drawing` says how they are rasterised: "published" or "smooth"."""

    name: str
    drawing: str
    ellipses: tuple[Ellipse, ...]

    def rows(self, au: int) -> list[int]:
        """List the indices of the shapes that belong to an AU; raise TableError if the geometry does not draw it."""
        indices = [index for index, ellipse in enumerate(self.ellipses) if ellipse.au == au]
        if not indices:
            raise TableError(f"au_guidance/geometries/{self.name}.yaml draws no AU{au}, which the codebook asks for")
        return indices


@cache
def geometry_table(name: str) -> Geometry:
    """Read `au_guidance/geometries/<name>.yaml`; raise TableError if it does not exist."""
    table = read_table("geometries", name)
    ellipses = [_ellipse(au, row) for au, rows in table["shapes"].items() for row in rows]
    return Geometry(name, table["drawing"], tuple(ellipses))


def render(
    points: ArrayLike, expression: Expression, size: int, codebook: str = "paper_code", geometry: str = "published"
) -> Heatmap | None:
    """Draw the AU heatmap A of one face.

    `points` (68, 2) are x, y in pixels of the map, an integer is a pixel's centre. Returns (size, size) in [0, 1], or
    None if there is nothing to draw: Neutral, no landmarks (NaN or infinite), every AU outside the image, or no
    contrast. Raises TableError on an unknown codebook or geometry, ValueError on points of another shape, an unknown
    expression and a size below 1.
    """
    return draw(shapes(points, geometry, size), expression, size, codebook=codebook, geometry=geometry)


def render_batch(
    points: ArrayLike,
    expressions: Sequence[str | int],
    size: int,
    codebook: str = "paper_code",
    geometry: str = "published",
) -> tuple[Heatmap, NDArray[np.bool_]]:
    """Draw the AU heatmaps of many faces: float32 (b, size, size), and which faces have one, bool (b,).

    `points` (b, 68, 2) are as in `render`, NaN where unknown; `expressions` are names or class ids. The map of a face
    without one is zeros. Raises as `render`, and ValueError if the numbers of faces and expressions differ.
    """
    faces = np.asarray(points, np.float64)
    if faces.ndim != 3 or len(faces) != len(expressions):
        count = len(expressions)
        raise ValueError(f"{count} expressions need landmarks ({count}, 68, 2), not {faces.shape}")
    classes = [Expression.parse(name) if isinstance(name, str) else Expression(int(name)) for name in expressions]
    heatmaps, valid = np.zeros((len(faces), size, size), np.float32), np.zeros(len(faces), np.bool_)
    for row, (face, expression) in enumerate(zip(faces, classes, strict=True)):
        heatmap = render(face, expression, size, codebook, geometry)
        if heatmap is not None:
            heatmaps[row], valid[row] = heatmap, True
    return heatmaps, valid


def shapes(points: ArrayLike, geometry: str = "published", size: int = CANVAS) -> NDArray[np.float64]:
    """Anchor all shapes of a geometry on the landmarks of faces (..., 68, 2), in pixels of a canvas of `size`.

    Returns (..., s, 5): centre x, y, radii, angle in radians; NaN where there are no landmarks. Heatmap
    shards store this: it depends on neither the expression nor the codebook.
    """
    faces = np.asarray(points, np.float64)
    if faces.shape[-2:] != (68, 2):
        raise ValueError(f"68 landmarks (68, 2) are needed, not {faces.shape}")
    table = geometry_table(geometry)
    known = np.asarray(np.isfinite(faces).all((-1, -2)))[..., None, None]
    anchor = _anchor_published if table.drawing == "published" else _anchor_smooth
    return np.where(known, anchor(np.where(known, faces, 0.0), table.ellipses, size), np.nan)


def draw(
    shapes: Floats,
    expression: Expression,
    size: int = CANVAS,
    *,
    codebook: str = "paper_code",
    geometry: str = "published",
) -> Heatmap | None:
    """Draw the heatmap (size, size) of an expression from a face's `shapes` (s, 5) on a canvas of `size`, or None."""
    return draw_units(shapes, _aus(codebook, expression), size, geometry=geometry)


def draw_units(
    shapes: Floats, aus: Sequence[int], size: int = CANVAS, *, geometry: str = "published"
) -> Heatmap | None:
    """Draw the heatmap (size, size) of any set of AUs from a face's `shapes` (s, 5) on a canvas of `size`, or None.

    The maximum over the AUs, each blurred on the 28x28 grid, then min-max to [0, 1]. Raises TableError on an AU that
    the geometry does not draw.
    """
    if size < 1:
        raise ValueError(f"the size is {size}; it must be at least 1")
    places = _shapes_of(geometry, tuple(aus))
    if not places or not np.isfinite(shapes).all():
        return None
    face = [tuple(ellipse) for ellipse in shapes.tolist()]
    published = geometry_table(geometry).drawing == "published"
    raster, background = (raster_published, BACKGROUND) if published else (raster_smooth, 0.0)
    heatmap = np.full((size, size), background, np.float32)
    for ellipses in {tuple(face[place] for place in unit) for unit in places}:  # several AUs share a shape
        cells = touched(ellipses, size)
        grid = raster(ellipses, cells, size) if all(part.start < part.stop for part in cells) else None
        if grid is not None:
            part = heatmap[pixels(cells, size)]
            cv2.max(part, cv2.resize(grid, part.shape[::-1], interpolation=cv2.INTER_LINEAR), dst=part)
    low, high = heatmap.min(), heatmap.max()
    if high <= low:
        return None
    heatmap -= low
    heatmap /= high - low
    return heatmap


@cache
def _shapes_of(geometry: str, aus: tuple[int, ...]) -> list[list[int]]:
    return [geometry_table(geometry).rows(au) for au in aus]


def _aus(name: str, expression: Expression) -> tuple[int, ...]:
    aus = codebook(name).get(expression)  # a class id works too: it equals its expression
    if aus is None:
        raise ValueError(
            f"unknown expression {expression!r}; known: {', '.join(member.label for member in Expression)}"
        )
    return aus


def _ellipse(au: int, row: Mapping[str, Any]) -> Ellipse:
    radius = {key: _radius(row.get(key, 0.0)) for key in ("rx", "ry", "dx", "dy")}
    return Ellipse(au, tuple(row["x"]), tuple(row["y"]), **radius)


def _radius(value: float | Mapping[str, Any]) -> Radius:
    if not isinstance(value, Mapping):
        return Radius(length=float(value))
    span = value.get("span")
    return Radius(**{**value, "span": tuple(span) if span else None})


# --- published: whole pixels, counted as the published code does


def _anchor_published(faces: Floats, ellipses: Sequence[Ellipse], size: int) -> Floats:
    pixels = np.trunc(np.clip(faces, -FAR, FAR))
    rows = np.zeros((*faces.shape[:-2], len(ellipses), 5))
    for number, ellipse in enumerate(ellipses):
        for axis, anchors, shift, radius in (
            (0, ellipse.x, ellipse.dx, ellipse.rx),
            (1, ellipse.y, ellipse.dy, ellipse.ry),
        ):
            centre = np.trunc(pixels[..., anchors, axis].mean(-1))
            rows[..., number, axis] = _shifted(centre, shift, size)
            rows[..., number, 2 + axis] = _radius_published(radius, pixels[..., axis], size)
    return rows


def _shifted(centre: Floats, shift: Radius, size: int) -> Floats:
    moved = centre + shift.length + (round(size / shift.image) if shift.image else 0)
    if shift.length < 0:
        moved = np.maximum(moved, 0)
    return np.minimum(moved, size) if shift.length > 0 else moved


def _radius_published(radius: Radius, pixels: Floats, size: int) -> Floats | float:
    if radius.image:
        return round(size / radius.image)
    if radius.span is None:
        return radius.length
    start, end = radius.span
    half = np.maximum(np.trunc((pixels[..., end] - pixels[..., start] + radius.add) / 2), 0)
    return np.where(half > 0, half, radius.default)


# --- smooth: ellipses in the face's own frame, antialiased


def _anchor_smooth(faces: Floats, ellipses: Sequence[Ellipse], size: int) -> Floats:
    eye_line = faces[..., 42:48, :].mean(-2) - faces[..., 36:42, :].mean(-2)
    angle = np.arctan2(eye_line[..., 1], eye_line[..., 0])
    across = np.stack([np.cos(angle), np.sin(angle)], -1)
    down = np.stack([-across[..., 1], across[..., 0]], -1)
    own_x, own_y = ((faces * axis[..., None, :]).sum(-1) for axis in (across, down))
    unit = np.hypot(*np.moveaxis(faces[..., 45, :] - faces[..., 36, :], -1, 0))
    rows = np.empty((*faces.shape[:-2], len(ellipses), 5))
    for number, ellipse in enumerate(ellipses):
        right = own_x[..., ellipse.x].mean(-1) + unit * ellipse.dx.length
        below = own_y[..., ellipse.y].mean(-1) + unit * ellipse.dy.length
        rows[..., number, :2] = right[..., None] * across + below[..., None] * down
        rows[..., number, 2] = _radius_smooth(ellipse.rx, own_x, unit)
        rows[..., number, 3] = _radius_smooth(ellipse.ry, own_y, unit)
        rows[..., number, 4] = angle
    return rows


def _radius_smooth(radius: Radius, own: Floats, unit: Floats) -> Floats:
    if radius.span is None:
        return unit * radius.length
    start, end = radius.span
    return np.asarray(np.maximum((own[..., end] - own[..., start] + unit * radius.add) / 2, unit * radius.least))
