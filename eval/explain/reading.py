"""Read a map in action units: how much of it lies on each part of the face, in numbers and in words.

The region of an AU is the inside of its ellipses, as far as it lies on the face. The lift of a region is the mean of
the map on it, divided by the mean of the map on the face: a map that is uniform on the face has lifts of 1, and so has
one that is uniform on the image. Left and right are those of the image.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from au_guidance.expressions import AU_NAMES, AU_PARTS, Expression, codebook
from au_guidance.heatmap import CANVAS, draw, geometry_table
from eval.metrics.baselines import skill
from eval.metrics.cosines import l2_normalise
from eval.metrics.discrimination import NOTHING, best_match, class_cosines
from eval.records.predictions import ORDERED
from train.card.schema import Heatmap

LIFT_HIGH = 1.3  # the map is said to lie on a region from this lift on; our choice
LIFT_LOW = 0.8  # and to lie less on it than elsewhere below this lift; our choice
MIN_INSIDE = 0.5  # share of the mass on the face below which a reading warns
N_NAMED = 3  # regions named for a face without expression, at most
FOREHEAD_HEIGHT = 0.35  # height of the forehead above the brows, relative to the distance from chin to brows

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = NDArray[Any]
Similarity = tuple[float | None, float | None, float | None, str | None]  # `cosine` to `retrieved` of a reading


@dataclass(frozen=True)
class Region:
    """A map on the region of some AUs: its `share` of the mass on the face, the region's share of the face (`uniform`).

    `part` of the face and `names` describe the `aus`. `lift` = share / uniform. `left` and `right` are the lifts of the
    two sides, None unless all AUs have sides.
    """

    part: str
    aus: tuple[int, ...]
    names: tuple[str, ...]
    share: float
    uniform: float
    lift: float
    left: float | None
    right: float | None

    @property
    def is_high(self) -> bool:
        """Whether the map lies on the region, or on one of its sides, in lifts as they are shown."""
        return round(max(self.lift, self.left or 0.0, self.right or 0.0), 1) >= LIFT_HIGH


@dataclass(frozen=True)
class Reading:
    """A map on a face, read for one expression.

    `regions` are the parts of the face with AUs of the expression, highest lift first. `cosine` is that of the map and
    the expression's AU map on the same face, `baseline` that of the mean AU map of all expressions, `skill` is (cosine
    - baseline) / (1 - baseline); all None for Neutral, which has no AUs. `retrieved` is the expression whose AU map is
    most similar, None for a map of zeros and for Neutral. `inside` is the share of the mass on the face. `words` put
    the regions into sentences, `warnings` say why the map may not be trusted.
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
    face = face_mask(points)
    inside = _mass_share(values, face)
    similarity: Similarity = (None, None, None, None)
    aus_of = codebook(heatmap.codebook)
    aus = _all_aus(heatmap) if expression == Expression.NEUTRAL else aus_of[expression]
    regions = _regions(values, _by_part(aus), shapes, heatmap.geometry, face)
    if expression == Expression.NEUTRAL:
        words, regions = _describe_neutral(regions), []
    else:
        similarity, words = _similarity(values, expression, shapes, heatmap), _describe(regions)
    warnings = tuple(_warnings(expression, similarity, inside))
    return Reading(expression.label, tuple(regions), *similarity, inside, words, warnings)


def au_table(values: Map, shapes: Numbers, points: Numbers, heatmap: Heatmap) -> list[dict[str, Any]]:
    """Measure a map on the AUs of the codebook, highest lift first; AUs whose regions coincide share a row.

    `expressions` are those that any AU of a row belongs to.
    """
    aus_of = codebook(heatmap.codebook)
    groups = _coinciding(_all_aus(heatmap), shapes, heatmap.geometry)
    return [
        asdict(region, dict_factory=_rounded)
        | {"expressions": [expression.label for expression, aus in aus_of.items() if set(region.aus) & set(aus)]}
        for region in _regions(values, groups, shapes, heatmap.geometry, face_mask(points))
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


def _regions(
    values: Map, groups: Iterable[tuple[int, ...]], shapes: Numbers, geometry: str, face: Mask
) -> list[Region]:
    """Measure a map on groups of AUs, highest lift first; a group without region on the face is left out."""
    regions, on_face = [], np.where(face, values, 0)
    for aus in groups:
        masks = [[_ellipse_mask(tuple(part.tolist())) & face for part in _parts(shapes, au, geometry)] for au in aus]
        mask = np.logical_or.reduce([part for parts in masks for part in parts])
        if mask.any():
            left, right = None, None
            if all(_side_by_side(_parts(shapes, au, geometry)) for au in aus):
                left, right = (_lift(on_face, np.logical_or.reduce(side), face) for side in zip(*masks, strict=True))
            share, uniform = _mass_share(on_face, mask), float(mask.sum() / face.sum())
            names = tuple(AU_NAMES.get(au, f"AU{au}") for au in aus)
            part = AU_PARTS.get(aus[0], names[0])
            regions.append(Region(part, aus, names, share, uniform, share / uniform, left, right))
    return sorted(regions, key=lambda region: -region.lift)


def _parts(shapes: Numbers, au: int, geometry: str) -> list[NDArray[np.float64]]:
    """Return the ellipses of an AU from left to right."""
    return sorted(ellipses(shapes, au, geometry), key=lambda ellipse: float(ellipse[0]))


def _side_by_side(parts: Sequence[NDArray[np.float64]]) -> bool:
    """Tell two ellipses on the two sides of a face from others, such as those of the lips."""
    return len(parts) == 2 and bool(abs(parts[1][0] - parts[0][0]) > abs(parts[1][1] - parts[0][1]))


def _all_aus(heatmap: Heatmap) -> list[int]:
    return sorted({au for aus in codebook(heatmap.codebook).values() for au in aus})


def _by_part(aus: Iterable[int]) -> list[tuple[int, ...]]:
    """Group AUs by the part of the face on which they are seen."""
    groups: dict[str, tuple[int, ...]] = {}
    for au in aus:
        part = AU_PARTS.get(au, str(au))
        groups[part] = (*groups.get(part, ()), au)
    return list(groups.values())


def _coinciding(aus: Iterable[int], shapes: Numbers, geometry: str) -> list[tuple[int, ...]]:
    """Group AUs whose ellipses are the same on this face."""
    groups: dict[bytes, tuple[int, ...]] = {}
    for au in aus:
        place = np.concatenate(_parts(shapes, au, geometry)).tobytes()
        groups[place] = (*groups.get(place, ()), au)
    return list(groups.values())


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


def _lift(on_face: Map, mask: Mask, face: Mask) -> float | None:
    return _mass_share(on_face, mask) / float(mask.sum() / face.sum()) if mask.any() else None


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
        return "The regions of the expression's action units lie outside the face."
    high = [region for region in regions if region.is_high]
    if not high:
        return f"The map does not stand out on the regions of the expression's action units: {_named(regions)}."
    low = [region for region in regions if region not in high and round(region.lift, 1) < LIFT_LOW]
    rest = [region for region in regions if region not in high and region not in low]
    sentences = {"The map lies on": high, "About as on the rest of the face": rest, "Less on": low}
    return " ".join(f"{lead}: {_named(part)}." for lead, part in sentences.items() if part)


def _describe_neutral(regions: Sequence[Region]) -> str:
    high = [region for region in regions if round(region.lift, 1) >= LIFT_HIGH][:N_NAMED]
    lead = "Neutral has no action units."
    named = ", ".join(f"{region.part} {region.lift:.1f}x" for region in high)
    return f"{lead} The map is highest on: {named}." if high else lead


def _named(regions: Sequence[Region]) -> str:
    return ", ".join(map(_place, regions))


def _place(region: Region) -> str:
    """Name a region and its lift, such as "mouth (AU23/24) 2.1x"; if the map is high on one side, that one's."""
    sides = {"left": region.left, "right": region.right}
    high = {side: lift for side, lift in sides.items() if lift is not None and round(lift, 1) >= LIFT_HIGH}
    aus = "/".join(map(str, region.aus))
    if len(high) == 1:
        ((side, lift),) = high.items()
        return f"{region.part} (AU{aus}, {side}) {lift:.1f}x"
    return f"{region.part} (AU{aus}) {region.lift:.1f}x"


def _warnings(expression: Expression, similarity: Similarity, inside: float) -> Iterable[str]:
    cosine, baseline, _, retrieved = similarity
    if retrieved not in (None, expression.label):
        yield f"the map resembles the action units of {retrieved} more than those of {expression.label}"
    # Compared as they are shown: no warning says that 0.83 is worse than 0.83.
    if cosine is not None and baseline is not None and round(cosine, 2) < round(baseline, 2):
        yield (
            f"the map fits the action units of {expression.label} worse than the mean AU map of all expressions does "
            f"(cosine {cosine:.2f}, mean map {baseline:.2f})"
        )
    if inside < MIN_INSIDE:
        yield f"{100 * (1 - inside):.0f} % of the map lies outside the face"


def _rounded(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in items}
