"""Spatial action unit cues for facial expression recognition: the AU heatmap A and the alignment loss (FG 2024).

    from au_guidance import Expression, render, au_loss

    heatmap = render(points, Expression.HAPPINESS, 224)            # 68 landmarks (68, 2) -> (224, 224) in [0, 1]
    loss = F.cross_entropy(logits, y) + 4 * au_loss(features, heatmaps, valid)

`render` draws the heatmap of one face and `render_batch` those of many; `au_loss` pulls the channel mean of any
network's features (b, c, h, w) towards them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from au_guidance.expressions import Expression, codebook
from au_guidance.tables import TableError

if TYPE_CHECKING:
    from au_guidance.heatmap import render, render_batch, shapes
    from au_guidance.loss import attention, au_loss, cosine, resize

__all__ = [
    "Expression",
    "TableError",
    "attention",
    "au_loss",
    "codebook",
    "cosine",
    "render",
    "render_batch",
    "resize",
    "shapes",
]
_DRAWING = ("render", "render_batch", "shapes")


def __getattr__(name: str) -> Any:
    """Import OpenCV only for those who draw, and torch only for those who ask for the loss: both are slow to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"au_guidance.{'heatmap' if name in _DRAWING else 'loss'}"), name)
