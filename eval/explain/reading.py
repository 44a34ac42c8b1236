"""A map read as an expert reads a face: which action units it lies on, in numbers and in words.

An AU's region is the inside of its ellipses. Of a map's mass, the share on a region is compared with the region's share
of the picture, which a uniform map would give: the lift. Left and right are those of the picture.
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
from eval.metrics.discrimination import NOTHING, best_match, class_cosines, unit
from eval.records.predictions import ORDERED
from train.card.schema import Heatmap

ON = 1.3  # lift from which a map is said to lie on a region; ours
LITTLE = 0.8  # lift below which it is said to lie little on it; ours
MOST = 3  # regions that are named of a face without expression
FOREHEAD = 0.35  # of the way from chin to brows that a face goes on above the brows
UNSURE = 0.5  # probability below which an answer is called unsure

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """How much of a map lies on an AU: `share` of its mass, `uniform` share of the picture, `lift` = share / uniform.

    `left` and `right` are the lifts of the sides, None where the AU has one region in the middle.
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

    `regions` are the AUs of its codebook, highest lift first. `cosine` is with the expression's AU map, `baseline` that
    of the mean of all expressions' AU maps on the same face, `skill` = (cosine - baseline) / (1 - baseline),
    `retrieved` the expression whose AU map is most alike, `inside` the share of the mass on the face. All but `inside`
    are None for Neutral, which has no AUs. `words` say it, `warnings` what speaks against believing it.
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

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, with four digits."""
        return _rounded(asdict(self))


def read(values: Map, expression: Expression, shapes: NDArray[Any], points: NDArray[Any], heatmap: Heatmap) -> Reading:
    """Read a map (224, 224) without negative values on a face with AU `shapes` (s, 5) and landmarks (68, 2) there.

    `heatmap` names codebook and geometry. Raises UserError as `au_guidance.heatmap.draw` does.
    """
    aus = codebook(heatmap.codebook)[expression]
    regions = sorted(_regions(values, aus, shapes, heatmap.geometry), key=lambda region: -region.lift)
    inside = _share(values, face_mask(points))
    alike: dict[str, Any] = {"cosine": None, "baseline": None, "skill": None, "retrieved": None}
    if expression != Expression.NEUTRAL:
        alike = _alike(values, expression, shapes, heatmap)
    words = _words(expression, regions)
    if expression == Expression.NEUTRAL:
        most = [row for row in _all_regions(values, shapes, heatmap) if row.lift >= ON]
        words += f"; the map lies most on {', '.join(_named(row) for row in most[:MOST])}" if most else ""
    return Reading(
        expression.label, tuple(regions), **alike, inside=inside, words=words,
        warnings=tuple(_warnings(expression, alike, inside)),
    )  # fmt: skip


def au_table(values: Map, shapes: NDArray[Any], heatmap: Heatmap) -> list[dict[str, Any]]:
    """Measure a map on every AU of the codebook, highest lift first; `expressions` are those that an AU belongs to."""
    book = codebook(heatmap.codebook).items()
    return [
        _rounded(asdict(row) | {"expressions": [one.label for one, aus in book if row.au in aus]})
        for row in _all_regions(values, shapes, heatmap)
    ]


def ellipses(shapes: NDArray[Any], au: int, geometry: str) -> list[NDArray[np.float64]]:
    """Return the ellipses of an AU on a face: centre x, y, radii in pixels of the canvas, angle in radians."""
    return [np.asarray(shapes[row], np.float64) for row in geometry_table(geometry).rows(au)]


def face_mask(points: NDArray[Any]) -> Mask:
    """Fill the outline of a face: jaw and brows, and a forehead above the brows."""
    points = np.asarray(points, np.float64)
    up = FOREHEAD * (points[17:27].mean(0) - points[8])
    outline = np.concatenate([points[:17], points[17:27], points[17:27] + up])
    return _filled(cv2.convexHull(np.rint(outline).astype(np.int32)))


def _filled(hull: Any) -> Mask:
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    return mask.astype(bool)


def _regions(values: Map, aus: Iterable[int], shapes: NDArray[Any], geometry: str) -> list[Region]:
    found = []
    for au in aus:
        parts = sorted(ellipses(shapes, au, geometry), key=lambda ellipse: ellipse[0])
        masks = [_inside(tuple(ellipse.tolist())) for ellipse in parts]
        whole = np.logical_or.reduce(masks)
        if whole.any():
            beside = len(parts) == 2 and abs(parts[1][0] - parts[0][0]) > abs(parts[1][1] - parts[0][1])
            sides = [_lift(values, mask) for mask in masks] if beside else [None, None]
            share, uniform = _share(values, whole), float(whole.mean())
            found.append(Region(au, AU_NAMES.get(au, f"AU{au}"), share, uniform, share / uniform, *sides))
    return found


def _all_regions(values: Map, shapes: NDArray[Any], heatmap: Heatmap) -> list[Region]:
    aus = sorted({au for aus in codebook(heatmap.codebook).values() for au in aus})
    return sorted(_regions(values, aus, shapes, heatmap.geometry), key=lambda region: -region.lift)


@lru_cache(maxsize=256)
def _inside(ellipse: tuple[float, ...]) -> Mask:
    """Fill an ellipse; several maps of a face ask for the same ones."""
    x, y, across, down, angle = ellipse
    row, column = np.mgrid[:CANVAS, :CANVAS]
    along = (column - x) * np.cos(angle) + (row - y) * np.sin(angle)
    below = (row - y) * np.cos(angle) - (column - x) * np.sin(angle)
    return (along / max(across, 0.5)) ** 2 + (below / max(down, 0.5)) ** 2 <= 1


def _share(values: Map, mask: Mask) -> float:
    total = float(values.sum(dtype=np.float64))
    return float(values[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0


def _lift(values: Map, mask: Mask) -> float | None:
    return _share(values, mask) / float(mask.mean()) if mask.any() else None


def _alike(values: Map, expression: Expression, shapes: NDArray[Any], heatmap: Heatmap) -> dict[str, Any]:
    drawn = [draw(shapes, one, codebook=heatmap.codebook, geometry=heatmap.geometry) for one in ORDERED]
    maps = torch.from_numpy(np.stack([np.zeros_like(values) if one is None else one for one in drawn]))
    own = unit(torch.from_numpy(values)[None])
    cosines = class_cosines(own, unit(maps)[None])
    cosine = float(cosines[0, ORDERED.index(expression)])
    baseline = float(class_cosines(unit(maps.mean(0)[None]), unit(maps)[None])[0, ORDERED.index(expression)])
    match = int(best_match(cosines)[0])
    return {
        "cosine": cosine,
        "baseline": baseline,
        "skill": (cosine - baseline) / (1 - baseline) if baseline < 1 else 0.0,
        "retrieved": None if match == NOTHING else Expression(match).label,
    }


def _words(expression: Expression, regions: Sequence[Region]) -> str:
    if expression == Expression.NEUTRAL:
        return "no action units belong to it"
    if not regions:
        return "its action units lie outside the picture"
    parts = {
        "": [_phrase(region) for region in regions if _side(region) is not None],
        "as elsewhere on ": [_named(region) for region in regions if region.lift >= LITTLE and _side(region) is None],
        "little on ": [_named(region) for region in regions if region.lift < LITTLE and _side(region) is None],
    }
    said = [lead + ", ".join(names) for lead, names in parts.items() if names]
    return "; ".join(said)


def _side(region: Region) -> str | None:
    """Say on which side a map lies on a region: "" for all of it, None if it does not."""
    if region.left is None or region.right is None:
        return "" if region.lift >= ON else None
    on = [name for name, lift in (("left", region.left), ("right", region.right)) if lift >= ON]
    return " and ".join(on) or ("" if region.lift >= ON else None)


def _phrase(region: Region) -> str:
    side = _side(region)
    return f"{_named(region)} {side}" if side else _named(region)


def _named(region: Region) -> str:
    return f"{region.name} AU{region.au}"


def _warnings(expression: Expression, alike: Mapping[str, Any], inside: float) -> Iterable[str]:
    if alike["retrieved"] not in (None, expression.label):
        yield f"the map is more like the action units of {alike['retrieved']} than of {expression.label}"
    if alike["skill"] is not None and alike["skill"] < 0:
        yield (
            f"the map shows the action units of {expression.label} less than the mean of all expressions does "
            f"(cosine {alike['cosine']:.2f}, mean {alike['baseline']:.2f})"
        )
    if inside < 0.5:
        yield f"{1 - inside:.0%} of the map lies outside the face"


def _rounded(values: Any) -> Any:
    if isinstance(values, float):
        return round(values, 4)
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    return [_rounded(value) for value in values] if isinstance(values, list | tuple) else values
