"""How well maps cover the action units: maps brought to the canvas of the AU heatmaps, and their cosines with these."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.expressions import SIX, Expression
from au_guidance.loss import cosine, resize

ResizeMode = Literal["half_pixel", "published"]


def min_max(maps: Tensor) -> Tensor:
    """Stretch each raw map (b, h, w) to [0, 1]: (M - min M) / (max M - min M), at native size.

    No epsilon: Grad-CAM++ maps peak near 1e-8. A constant map becomes zeros, so its cosine is 0. Source: the published
    code, which maps NaN to 0, +inf to 1 and -inf to 0.
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.nan_to_num((maps - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0).clamp(0, 1)


def cam_canvas(maps: Tensor, size: int) -> Tensor:
    """Bring min-max normalised CAMs (b, h, w) to the heatmaps' canvas (b, size, size), half-pixel, clamped to [0, 1].

    The maximum may end below 1 and the minimum above 0: there is no second min-max, as in the published code.
    """
    return resize(maps, size, "half_pixel").clamp(0, 1)


def attention_canvas(maps: Tensor, size: int, mode: ResizeMode) -> Tensor:
    """Bring attention maps (b, h, w) to the heatmaps' canvas (b, size, size), shifted to start at 0 if negative.

    The shift is by the native minimum; a positive minimum stays, unlike in a CAM. `mode` is how the target was resized
    in training. The published code also clamps to the native range, which no convex interpolation leaves.
    """
    lowest = maps.amin((1, 2), keepdim=True).clamp(max=0)
    return resize(maps - lowest, size, mode)


def l2_normalise(maps: Tensor) -> Tensor:
    """Scale maps (..., s, s) to norm 1 as rows (..., s^2); a map of zeros stays."""
    rows = maps.flatten(-2).float()
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / norms.clamp(min=1e-8)


def map_cosine(maps: Tensor, heatmaps: Tensor) -> NDArray[np.float64]:
    """Say how alike maps and AU heatmaps (b, s, s) are: <M, A> / (|M| |A|), one number per image.

    CAM-COS for a CAM, ATT-COS for the attention of a layer (paper, Section 4.1). In [0, 1] for maps without negative
    values, higher is better, eps 1e-8 as in the loss; a map of zeros scores 0. A uniform map already scores about 0.5
    and one centred blob about 0.65, so differences matter more than levels.
    """
    return torch.nan_to_num(cosine(maps, heatmaps), nan=0.0).double().cpu().numpy()


@dataclass(frozen=True)
class MapScore:
    """Cosines of many images in one number: macro over expressions, micro over images; and each expression's mean."""

    macro: float
    micro: float
    per_class: dict[Expression, float]


def aggregate(cosines: NDArray[np.floating], expressions: NDArray[np.integer], valid: NDArray[np.bool_]) -> MapScore:
    """Average cosines (n,) of the valid images within each class, then over the six expressions; Neutral is left out.

    macro = (1/6) sum_c mean_{i in c} cos_i, over the expressions that have a valid image; micro = mean_i cos_i. Both in
    [0, 1], higher is better. The paper's CAM-COS and ATT-COS are the macro means (published code).
    """
    rows = {expression: valid & (expressions == expression) for expression in SIX}
    per_class = {expression: float(cosines[row].mean()) for expression, row in rows.items() if row.any()}
    if not per_class:
        raise ValueError("no image of the six expressions has an AU heatmap")
    counted = np.logical_or.reduce(list(rows.values()))
    return MapScore(
        macro=float(np.mean(list(per_class.values()))),
        micro=float(cosines[counted].mean()),
        per_class=per_class,
    )
