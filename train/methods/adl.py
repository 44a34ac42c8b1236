"""ADL (Choe and Shim, CVPR 2019): in training, gates inside the network hide or stress what it looks at."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from train.backbones.base import Backbone
from train.backbones.registry import BACKBONES
from train.backbones.resnet import ResNet, start_convolutions
from train.card.options import Mode, Probability, Share
from train.card.schema import Model
from train.methods.base import Output, published
from train.methods.cam import Cam

RESNETS = tuple(name for name, entry in BACKBONES.items() if entry.module == "resnet")


class Adl(Cam):
    """CAM on a ResNet with gates after the first block of stage 3 and after the first and last block of stage 4.

    A gate computes the channel mean S. In training it multiplies the features, with probability `drop_rate`, by the
    drop mask (1 where S < threshold * max S, else 0) and otherwise by the importance map sigmoid(S) (Section 3); one
    draw per gate and batch, from torch's generator on the CPU. In evaluation it does nothing.

    original: drop rate 0.75 and threshold 0.9, as in the paper. published: 0.4 and 0.1, and the code's two slips: its
    gates count as blocks, so that pretrained blocks land one place too early (`initialise`) and the map is read after
    the second block of stage 4 (`Output.maps`).
    """

    backbone: ResNet

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        mode: Mode = "original",
        drop_rate: Probability | None = None,
        threshold: Share | None = None,
    ) -> None:
        if not isinstance(backbone, ResNet):
            raise UserError(f"model.backbone: the method adl has gates in a ResNet: {', '.join(RESNETS)}")
        super().__init__(backbone, classes)
        self.published = published(mode)
        rate, part = (0.4, 0.1) if self.published else (0.75, 0.9)
        self.drop_rate = rate if drop_rate is None else drop_rate
        self.threshold = part if threshold is None else threshold
        self.gates = {(4, 0), (5, 0), (5, len(backbone.layer4) - 1)}

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w); in mode published with class maps of the second block of stage 4."""
        read: list[Tensor] = []

        def after_block(layer: int, block: int, value: Tensor) -> Tensor:
            if self.published and (layer, block) == (5, 1):
                read.append(torch.einsum("kc,bchw->bkhw", self.fc.weight, value))
            return self.gate(value) if self.training and (layer, block) in self.gates else value

        features = self.backbone(images, after_block)
        return Output(self.fc(features[5].mean((2, 3))), features, read[0] if read else None)

    def gate(self, features: Tensor) -> Tensor:
        """Drop the most attended pixels of features (b, c, h, w), or multiply by the importance map."""
        attention = features.mean(1, keepdim=True)
        if torch.rand(()) < self.drop_rate:
            return features * (attention < self.threshold * attention.amax((2, 3), keepdim=True))
        return features * attention.sigmoid()

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image, at the size of layer 5."""
        return output.class_map(classes) if self.published else super().cam(output, classes)

    def initialise(self, model: Model) -> None:
        """In mode published, move pretrained blocks as the code does.

        Its gate after the first block of the stages 3 and 4 takes the second block's number: the second pretrained
        block has no place, each later one lands one block early, and the last block starts random.
        """
        if not self.published or model.init == "none":
            return
        for stage in (self.backbone.layer3, self.backbone.layer4):
            blocks = list(stage)
            for block, later in pairwise(blocks[1:]):
                block.load_state_dict(later.state_dict())
            start_convolutions(blocks[-1])
            for module in blocks[-1].modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.reset_parameters()
