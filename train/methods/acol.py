"""ACoL (Zhang et al., CVPR 2018): a second classifier learns from what the first one does not look at."""

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from train.backbones.base import Backbone
from train.card.options import Count, Mode, Share
from train.methods.base import Method, Output, published, start_head


class Acol(Method):
    """Two towers of three convolutions; the features for tower B are erased where tower A's class map is high.

    Logits are the spatial means of a tower's class maps; the label's map of A, stretched to [0, 1], erases where it
    reaches the threshold (Algorithm 1). The map of class t is the larger of both towers' stretched maps. `threshold` is
    0.6 in the original, 0.1 in the published code; the paper's average pooling before the towers belongs to its VGG.
    `width` is the number of channels inside a tower.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        mode: Mode = "original",
        threshold: Share | None = None,
        width: Count = 1024,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tower_a = _tower(backbone.channels[5], width, classes)
        self.tower_b = _tower(backbone.channels[5], width, classes)
        default = 0.1 if published(mode) else 0.6
        self.threshold = default if threshold is None else threshold

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w) by tower A; with `target` (b, k), tower B's logits come along."""
        features = self.backbone(images)
        maps = self.tower_a(features[5])
        output = Output(maps.mean((2, 3)), features, maps)
        if target is None:
            return output
        return replace(output, extra_logits=(self.second_maps(output, target.argmax(1)).mean((2, 3)),))

    def second_maps(self, output: Output, classes: Tensor) -> Tensor:
        """Return tower B's class maps (b, k, h, w) where tower A's map of one class (b,) per image erases.

        No gradient goes through what is erased.
        """
        kept = _stretch(output.class_map(classes)) < self.threshold
        maps: Tensor = self.tower_b(output.features[5] * kept[:, None])
        return maps

    def classification_loss(self, output: Output, target: Tensor) -> Tensor:
        """Sum of both towers' cross-entropies."""
        towers = (output.logits, *output.extra_logits)
        return torch.stack([F.cross_entropy(logits.float(), target) for logits in towers]).sum()

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the fused map (b, h, w) of one class (b,) per image; zeros where a tower's map is constant."""
        second = replace(output, maps=self.second_maps(output, classes))
        fused = torch.maximum(_stretch(output.class_map(classes)), _stretch(second.class_map(classes)))
        return fused.nan_to_num(0.0)


def _tower(inputs: int, width: int, classes: int) -> nn.Sequential:
    tower = nn.Sequential(
        nn.Conv2d(inputs, width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, classes, kernel_size=1),
    )
    start_head(tower)
    return tower


def _stretch(maps: Tensor) -> Tensor:
    """Stretch maps (b, h, w) to [0, 1], without an epsilon: a constant map becomes NaN, as in the published code."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)
