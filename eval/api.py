"""What other people's code may use of this project's networks, without its trainer.

    from eval.api import load

    faces = load("checkpoint.safetensors").explain(picture)

For the AU heatmaps and the loss, in anybody's training loop, see the package `au_guidance`.
"""

from pathlib import Path

import torch

from eval.explain.explainer import Explainer
from eval.explain.explanation import Explanation

__all__ = ["Explainer", "Explanation", "load"]


def load(path: str | Path, device: torch.device | str = "cpu") -> Explainer:
    """Load a checkpoint; `load(path).explain(picture)` explains the faces of an RGB picture (h, w, 3) of uint8.

    Raises UserError if the file is missing, damaged or something else.
    """
    return Explainer(path, device)
