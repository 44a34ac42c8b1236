"""Read a map in action units: how much of it lies on each of them, in numbers and in words.

The region of an AU is the inside of its ellipses. Its lift is the share of the map's mass on the region, divided by the
region's share of the image, which is the share that a uniform map has there. Left and right are those of the image.
"""

from collections.abc import Iterable, Sequence
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
Similarity = tuple[float | None, float | None, float | None, str | None]  # `cosine` to `retrieved` of a reading


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
class Reading:
    """A map on a face, read for one expression.

    `regions` are the AUs of the expression, highest lift first. `cosine` is that of the map and the expression's AU map
    on the same face, `baseline` that of the mean AU map of all expressions, `skill` is (cosine - baseline) / (1 -
    baseline); all None for Neutral, which has no AUs. `retrieved` is the expression whose AU map is most similar, None
    for a map of zeros and for Neutral. `inside` is the share of the mass on the face. `words` put the regions into a
    sentence, `warnings` say why the map may not be trusted.
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
        return asdict(self, dict_factory=_rounded)


def read_map(values: Map, expression: Expression, shapes: Numbers, points: Numbers, heatmap: Heatmap) -> Reading:
    """Read a map (224, 224), values >= 0, for an expression.

    AU `shapes` (s, 5) and landmarks `points` (68, 2) are in pixels of the map; `heatmap` names codebook and geometry.
    Raises UserError as `au_guidance.heatmap.draw` does.
    """
    regions = _regions(values, codebook(heatmap.codebook)[expression], shapes, heatmap.geometry)
    inside = _mass_share(values, face_mask(points))
    similarity: Similarity = (None, None, None, None)
    if expression == Expression.NEUTRAL:
        words = _describe_neutral(_all_regions(values, shapes, heatmap))
    else:
        similarity, words = _similarity(values, expression, shapes, heatmap), _describe(regions)
    warnings = tuple(_warnings(expression, similarity, inside))
    return Reading(expression.label, tuple(regions), *similarity, inside, words, warnings)


def au_table(values: Map, shapes: Numbers, heatmap: Heatmap) -> list[dict[str, Any]]:
    """Measure a map on every AU of the codebook, highest lift first; `expressions` are those that an AU belongs to."""
    aus_of = codebook(heatmap.codebook)
    return [
        asdict(region, dict_factory=_rounded)
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
    """Measure a map on AUs, highest lift first; an AU outside the image is left out."""
    regions = []
    for au in aus:
        parts = sorted(ellipses(shapes, au, geometry), key=lambda ellipse: float(ellipse[0]))
        masks = [_ellipse_mask(tuple(ellipse.tolist())) for ellipse in parts]
        mask = np.logical_or.reduce(masks)
        if mask.any():
            left, right = [_lift(values, side) for side in masks] if _side_by_side(parts) else [None, None]
            share, uniform = _mass_share(values, mask), float(mask.mean())
            regions.append(Region(au, AU_NAMES.get(au, f"AU{au}"), share, uniform, share / uniform, left, right))
    return sorted(regions, key=lambda region: -region.lift)


def _side_by_side(parts: Sequence[NDArray[np.float64]]) -> bool:
    """Tell two ellipses on the two sides of a face from others, such as those of the lips."""
    return len(parts) == 2 and bool(abs(parts[1][0] - parts[0][0]) > abs(parts[1][1] - parts[0][1]))


def _all_regions(values: Map, shapes: Numbers, heatmap: Heatmap) -> list[Region]:
    aus = sorted({au for aus in codebook(heatmap.codebook).values() for au in aus})
    return _regions(values, aus, shapes, heatmap.geometry)


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
    return cosine, baseline, skill(cosine, baseline), None if match == NOTHING else Expression(match).label


def _describe(regions: Sequence[Region]) -> str:
    if not regions:
        return "its action units lie outside the image"
    parts: dict[str, list[str]] = {"high on": [], "average on": [], "low on": []}
    for region in regions:
        side = _side(region)
        if side is not None:
            parts["high on"].append(f"{_au_name(region)} {side}".rstrip())
        else:
            parts["average on" if region.lift >= LIFT_LOW else "low on"].append(_au_name(region))
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


def _au_name(region: Region) -> str:
    return f"{region.name} AU{region.au}"


def _warnings(expression: Expression, similarity: Similarity, inside: float) -> Iterable[str]:
    cosine, baseline, above_baseline, retrieved = similarity
    if retrieved not in (None, expression.label):
        yield f"the map resembles the action units of {retrieved} more than those of {expression.label}"
    if above_baseline is not None and above_baseline < 0:
        yield (
            f"the map fits the action units of {expression.label} worse than the mean AU map of all expressions does "
            f"(cosine {cosine:.2f}, mean map {baseline:.2f})"
        )
    if inside < MIN_INSIDE:
        yield f"{1 - inside:.0%} of the map lies outside the face"


def _rounded(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in items}
