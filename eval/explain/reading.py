"""Read a map in action units: how much of it lies on each of them, in numbers and in words.

The region of an AU is the inside of its ellipses. Its lift is the share of the map's mass on the region, divided by the
region's share of the image, which is the share that a uniform map has there. Left and right are those of the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from au_guidance.expressions import AU_NAMES, Expression, codebook
from au_guidance.heatmap import CANVAS, draw, geometry_table
from eval.metrics.baselines import skill
from eval.metrics.cosines import l2_normalise
from eval.metrics.discrimination import NOTHING, best_match, class_cosines
from eval.records.predictions import ORDERED
from train.card.schema import Heatmap

LIFT_HIGH = 1.3  # the map is said to be high on a region from this lift on; our choice
LIFT_LOW = 0.8  # and low on it below this lift; our choice
MIN_INSIDE = 0.5  # share of the mass on the face below which a reading warns
N_NAMED = 3  # regions named for a face without expression, at most
FOREHEAD_HEIGHT = 0.35  # height of the forehead above the brows, relative to the distance from chin to brows

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = NDArray[Any]


@dataclass(frozen=True)
class Region:
    """The part of a map on one AU: its `share` of the mass, the region's share of the image (`uniform`), their ratio.

    `lift` = share / uniform. `left` and `right` are the lifts of the two sides, None for an AU without sides.
    """

    au: int
    name: str
    share: float
    uniform: float
    lift: float
    left: float | None
    right: float | None


@dataclass(frozen=True)
class Similarity:
    """How similar a map is to the AU map of an expression on the same face; all None for Neutral, which has no AUs.

    `cosine` is that of the two maps, `baseline` that of the mean AU map of all expressions, `skill` is (cosine -
    baseline) / (1 - baseline), `retrieved` the expression whose AU map is most similar, None for a map of zeros.
    """

    cosine: float | None = None
    baseline: float | None = None
    skill: float | None = None
    retrieved: str | None = None


@dataclass(frozen=True)
class Reading:
    """A map on a face, read for one expression.

    `regions` are the AUs of the expression, highest lift first, `cosine`, `baseline`, `skill` and `retrieved` as in
    `Similarity`, `inside` is the share of the mass on the face. `words` put the regions into a sentence, `warnings` say
    why the map may not be trusted.
    """

    expression: str
    regions: tuple[Region, ...]
    cosine: float | None
    baseline: float | None
    skill: float | None
    retrieved: str | None
    inside: float
    words: str
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, rounded to four digits."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


def read_map(values: Map, expression: Expression, shapes: Numbers, points: Numbers, heatmap: Heatmap) -> Reading:
    """Read a map (224, 224), values >= 0, for an expression.

    AU `shapes` (s, 5) and landmarks `points` (68, 2) are in pixels of the map; `heatmap` names codebook and geometry.
    Raises UserError as `au_guidance.heatmap.draw` does.
    """
    regions = sorted(
        _regions(values, codebook(heatmap.codebook)[expression], shapes, heatmap.geometry),
        key=lambda region: -region.lift,
    )
    inside = _mass_share(values, face_mask(points))
    if expression == Expression.NEUTRAL:
        similarity, words = Similarity(), _describe_neutral(_all_regions(values, shapes, heatmap))
    else:
        similarity, words = _similarity(values, expression, shapes, heatmap), _describe(regions)
    return Reading(
        expression.label,
        tuple(regions),
        **asdict(similarity),
        inside=inside,
        words=words,
        warnings=tuple(_warnings(expression, similarity, inside)),
    )


def au_table(values: Map, shapes: Numbers, heatmap: Heatmap) -> list[dict[str, Any]]:
    """Measure a map on every AU of the codebook, highest lift first; `expressions` are those that an AU belongs to."""
    aus_of = codebook(heatmap.codebook)
    return [
        {key: _rounded(value) for key, value in asdict(region).items()}
        | {"expressions": [expression.label for expression, aus in aus_of.items() if region.au in aus]}
        for region in _all_regions(values, shapes, heatmap)
    ]


def ellipses(shapes: Numbers, au: int, geometry: str) -> list[NDArray[np.float64]]:
    """Return the ellipses of an AU on a face: centre x, y, radii in pixels of the canvas, angle in radians."""
    return [np.asarray(shapes[row], np.float64) for row in geometry_table(geometry).rows(au)]


def face_mask(points: Numbers) -> Mask:
    """Fill the outline of a face (224, 224): the jaw, the brows and a forehead above them."""
    points = np.asarray(points, np.float64)
    up = FOREHEAD_HEIGHT * (points[17:27].mean(0) - points[8])
    outline = np.concatenate([points[:17], points[17:27], points[17:27] + up])
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1)
    return mask.astype(bool)


def _regions(values: Map, aus: Iterable[int], shapes: Numbers, geometry: str) -> list[Region]:
    regions = []
    for au in aus:
        parts = sorted(ellipses(shapes, au, geometry), key=lambda ellipse: float(ellipse[0]))
        masks = [_ellipse_mask(tuple(ellipse.tolist())) for ellipse in parts]
        mask = np.logical_or.reduce(masks)
        if mask.any():
            left, right = [_lift(values, side) for side in masks] if _side_by_side(parts) else [None, None]
            share, uniform = _mass_share(values, mask), float(mask.mean())
            regions.append(Region(au, AU_NAMES.get(au, f"AU{au}"), share, uniform, share / uniform, left, right))
    return regions


def _side_by_side(parts: Sequence[NDArray[np.float64]]) -> bool:
    """Tell two ellipses on the two sides of a face from others, such as those of the lips."""
    return len(parts) == 2 and bool(abs(parts[1][0] - parts[0][0]) > abs(parts[1][1] - parts[0][1]))


def _all_regions(values: Map, shapes: Numbers, heatmap: Heatmap) -> list[Region]:
    aus = sorted({au for aus in codebook(heatmap.codebook).values() for au in aus})
    return sorted(_regions(values, aus, shapes, heatmap.geometry), key=lambda region: -region.lift)


@lru_cache(maxsize=256)
def _ellipse_mask(ellipse: tuple[float, ...]) -> Mask:
    """Fill an ellipse; cached, because all maps of a face use the same ones."""
    x, y, rx, ry, angle = ellipse
    row, column = np.mgrid[:CANVAS, :CANVAS]
    along = (column - x) * np.cos(angle) + (row - y) * np.sin(angle)
    below = (row - y) * np.cos(angle) - (column - x) * np.sin(angle)
    return np.asarray((along / max(rx, 0.5)) ** 2 + (below / max(ry, 0.5)) ** 2 <= 1)


def _mass_share(values: Map, mask: Mask) -> float:
    total = float(values.sum(dtype=np.float64))
    return float(values[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0


def _lift(values: Map, mask: Mask) -> float | None:
    return _mass_share(values, mask) / float(mask.mean()) if mask.any() else None


def _similarity(values: Map, expression: Expression, shapes: Numbers, heatmap: Heatmap) -> Similarity:
    """Compare a map with the AU maps that all expressions would have on the same face."""
    drawn = [draw(shapes, label, codebook=heatmap.codebook, geometry=heatmap.geometry) for label in ORDERED]
    maps = torch.from_numpy(np.stack([np.zeros_like(values) if image is None else image for image in drawn]))
    place = ORDERED.index(expression)
    cosines = class_cosines(l2_normalise(torch.from_numpy(values)[None]), l2_normalise(maps)[None])
    cosine = float(cosines[0, place])
    baseline = float(class_cosines(l2_normalise(maps.mean(0)[None]), l2_normalise(maps)[None])[0, place])
    match = int(best_match(cosines)[0])
    return Similarity(cosine, baseline, skill(cosine, baseline), None if match == NOTHING else Expression(match).label)


def _describe(regions: Sequence[Region]) -> str:
    if not regions:
        return "its action units lie outside the image"
    high = [_with_side(region) for region in regions if _side(region) is not None]
    rest = [region for region in regions if _side(region) is None]
    parts = {
        "high on": high,
        "average on": [_au_name(region) for region in rest if region.lift >= LIFT_LOW],
        "low on": [_au_name(region) for region in rest if region.lift < LIFT_LOW],
    }
    return "; ".join(f"{level} {', '.join(names)}" for level, names in parts.items() if names)


def _describe_neutral(regions: Sequence[Region]) -> str:
    high = [_au_name(region) for region in regions if region.lift >= LIFT_HIGH]
    lead = "this expression has no action units"
    return f"{lead}; the map is highest on {', '.join(high[:N_NAMED])}" if high else lead


def _side(region: Region) -> str | None:
    """Name the sides of a region on which a map is high: "" for the region as a whole, None for nowhere."""
    lifts = {"left": region.left, "right": region.right}
    sides = [side for side, lift in lifts.items() if lift is not None and lift >= LIFT_HIGH]
    if sides and None not in lifts.values():
        return " and ".join(sides)
    return "" if region.lift >= LIFT_HIGH else None


def _with_side(region: Region) -> str:
    side = _side(region)
    return f"{_au_name(region)} {side}" if side else _au_name(region)


def _au_name(region: Region) -> str:
    return f"{region.name} AU{region.au}"


def _warnings(expression: Expression, similarity: Similarity, inside: float) -> Iterable[str]:
    if similarity.retrieved not in (None, expression.label):
        yield f"the map resembles the action units of {similarity.retrieved} more than those of {expression.label}"
    if similarity.skill is not None and similarity.skill < 0:
        yield (
            f"the map fits the action units of {expression.label} worse than the mean AU map of all expressions does "
            f"(cosine {similarity.cosine:.2f}, mean map {similarity.baseline:.2f})"
        )
    if inside < MIN_INSIDE:
        yield f"{1 - inside:.0%} of the map lies outside the face"


def _rounded(values: Any) -> Any:
    if isinstance(values, float):
        return round(values, 4)
    if isinstance(values, Mapping):
        return {key: _rounded(value) for key, value in values.items()}
    return [_rounded(value) for value in values] if isinstance(values, list | tuple) else values
