"""What other people's code may use of this project, without its trainer.

    from eval.api import attention, au_loss, load, render

The paper's term fits any network with feature maps: draw the AU heatmaps of the training faces once from 68 landmarks
and labels (`render`), and add `weight * au_loss(features, heatmaps, valid)` to the loss. `load` gives a trained
checkpoint that explains pictures. docs/examples/own_network.py does the first with a plain timm model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from eval.explainer import Explainer, Explanation
from pipeline import action_units
from pipeline.expressions import Expression
from train import losses
from train.losses import attention
from train.method import Batch

__all__ = ["Explainer", "Explanation", "attention", "au_loss", "load", "render"]


def load(path: str | Path, device: torch.device | str = "cpu") -> Explainer:
    """Load a checkpoint; `load(path).explain(picture)` explains the faces of an RGB picture (h, w, 3) of uint8.

    Raises UserError if the file is missing, damaged or something else.
    """
    return Explainer(path, device)


def render(
    points: ArrayLike,
    expressions: Sequence[str | int],
    size: int,
    codebook: str = "paper_code",
    geometry: str = "symmetric",
) -> tuple[Tensor, Tensor]:
    """Draw the AU heatmaps A of faces (paper, section III-A): float32 (b, size, size) in [0, 1], and valid bool (b,).

    `points` (b, 68, 2) are landmarks x, y in pixels of a face picture of `size` (iBUG order, an integer is a pixel's
    centre), NaN where unknown; `expressions` are names or class ids of `pipeline.expressions.Expression`. A face
    without landmarks, Neutral, and one whose AUs lie outside the picture is not valid, and its map is zeros. Raises
    ValueError on another shape and an unknown expression, UserError on an unknown codebook or geometry.
    """
    faces = np.asarray(points, np.float64)
    if faces.ndim != 3 or len(faces) != len(expressions):
        raise ValueError(
            f"{len(expressions)} expressions need landmarks ({len(expressions)}, 68, 2), not {faces.shape}"
        )
    classes = [Expression.parse(one) if isinstance(one, str) else Expression(int(one)) for one in expressions]
    drawn = [action_units.render(face, one, size, codebook, geometry) for face, one in zip(faces, classes, strict=True)]
    empty = np.zeros((size, size), np.float32)
    maps = (
        np.stack([empty if one is None else one for one in drawn]) if drawn else np.zeros((0, size, size), np.float32)
    )
    return torch.from_numpy(maps), torch.tensor([one is not None for one in drawn], dtype=torch.bool)


def au_loss(features: Tensor | Mapping[int, Tensor], heatmaps: Tensor, valid: Tensor) -> Tensor:
    """Return 1 - cos(channel mean of the features, heatmap), averaged over the valid faces (paper, Eq. 1 and 2).

    `features` (b, c, h, w) of one layer, or several by any number, whose terms are added; `heatmaps` (b, s, s) and
    `valid` (b,) as `render` gives them, moved and cut as the pictures were. A scalar with gradients; 0 for a batch
    without valid faces.
    """
    layers = features if isinstance(features, Mapping) else {1: features}
    batch = Batch(heatmaps.new_zeros(0), heatmaps.new_zeros(0), heatmaps, valid)
    return losses.au_loss(layers, batch, list(layers))
