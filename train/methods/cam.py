"""CAM (Zhou et al., CVPR 2016): global average pooling and a linear layer, whose weights make the class map."""

import torch
from torch import Tensor, nn

from train.backbones.base import Backbone
from train.methods.base import Method, Output, start_head


class Cam(Method):
    """Logits W mean(A) + b of the last features A; the map of class t is M = sum over k of W[t, k] A_k (Eq. 2).

    The map has no bias, no ReLU and no scaling. The linear layer starts xavier-uniform with zero bias.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(backbone.channels[5], classes)
        start_head(self.fc)

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w)."""
        features = self.backbone(images)
        return Output(self.fc(features[5].mean((2, 3))), features)

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image, at the size of layer 5."""
        return torch.einsum("bk,bkhw->bhw", self.fc.weight[classes].float(), output.features[5].float()).detach()
