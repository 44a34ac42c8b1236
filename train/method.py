"""What every method is: a network with a head, a loss, an augmentation and a class activation map."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """Training samples: images (b, 3, h, w) normalised, target (b, k) probabilities, heatmaps (b, h, w) in [0, 1].

    `valid` (b,) is True where a face has a heatmap; Neutral and failed landmarks have none.
    """

    images: Tensor
    target: Tensor
    heatmaps: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Output:
    """What a forward pass gives: logits (b, k), features {layer: (b, c, h, w)}, maps (b, k, h, w) if the head has them."""

    logits: Tensor
    features: dict[int, Tensor]
    maps: Tensor | None = None
    extra_logits: tuple[Tensor, ...] = field(default=())


class Method(nn.Module):
    """Base of all methods; a method overrides what its paper changes."""

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w); `target` (b, k) only where the method's training needs it."""
        raise NotImplementedError

    def cam(self, output: Output, classes: Tensor) -> Tensor | None:
        """Return the raw map (b, h, w) of one class (b,) per image at native size, or None if there is none."""
        raise NotImplementedError

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change a training batch; images, targets and heatmaps move together."""
        return batch

    def classification_loss(self, output: Output, target: Tensor) -> Tensor:
        """Mean cross-entropy between logits and target probabilities (b, k)."""
        return F.cross_entropy(output.logits.float(), target)

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the last stage and the head, which `head_lr_ratio` speeds up."""
        raise NotImplementedError
