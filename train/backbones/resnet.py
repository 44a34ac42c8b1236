"""ResNet with large maps: the stages 3 and 4 keep stride 1 without dilation, so layer 5 is 28x28 at 224 px.

Blocks and tensor names are torchvision's, so that its ImageNet weights fit the pooled ones (He et al., 2016; stride in
the 3x3 convolution of a bottleneck). The published code changes the strides in the same way.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from train.backbones.base import Backbone
from train.weights.load import load_weights


class Design(NamedTuple):
    """One member of the family: its block, the blocks per stage, the channels of the first stage and the strides.

    `pooled` networks begin with torchvision's 7x7 convolution and max pooling. The others begin with a 3x3 convolution
    of stride 2 alone, which keeps small images at twice the resolution in the first stages.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    width: int
    strides: tuple[int, int, int, int] = (1, 2, 1, 1)
    pooled: bool = True


DESIGNS = {
    "resnet18": Design(BasicBlock, (2, 2, 2, 2), 64),
    "resnet18_half": Design(BasicBlock, (2, 2, 2, 2), 32),  # a quarter of the work
    "resnet18_quarter": Design(BasicBlock, (2, 2, 2, 2), 16),  # for the demo on a CPU
    # For images of about 64 px, at the cost of resnet18_quarter (the second) or 1.6 times that.
    "resnet10_half_unpooled": Design(BasicBlock, (1, 1, 1, 1), 32, (1, 2, 2, 1), pooled=False),
    "resnet18_quarter_unpooled": Design(BasicBlock, (2, 2, 2, 2), 16, (1, 2, 2, 1), pooled=False),
    "resnet50": Design(Bottleneck, (3, 4, 6, 3), 64),
    "resnet50_small_maps": Design(Bottleneck, (3, 4, 6, 3), 64, (1, 2, 2, 2)),  # as in ImageNet: layer 5 is 7x7
}
AfterBlock = Callable[[int, int, Tensor], Tensor]


class Stage(nn.Sequential):
    """The blocks of one stage, called as one module, so that its output is what a forward hook on it sees."""

    def forward(self, value: Tensor, after_block: Callable[[int, Tensor], Tensor] | None = None) -> Tensor:
        """Run the blocks; `after_block(block, value)` may change what each of them hands on."""
        for number, block in enumerate(self):
            value = block(value)
            if after_block is not None:
                value = after_block(number, value)
        return value


class ResNet(Backbone):
    """Layer 1 is the first convolution before pooling, the layers 2 to 5 are the stages, each after its last ReLU."""

    layer1: Stage
    layer2: Stage
    layer3: Stage
    layer4: Stage

    def __init__(self, design: Design) -> None:
        super().__init__()
        kernel = 7 if design.pooled else 3
        self.conv1 = nn.Conv2d(3, design.width, kernel_size=kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(design.width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if design.pooled else nn.Identity()
        self.channels = {1: design.width}
        for number, (depth, stride) in enumerate(zip(design.depths, design.strides, strict=True)):
            channels = design.width * 2**number
            stage = _stage(design.block, self.channels[number + 1], channels, depth=depth, stride=stride)
            self.add_module(f"layer{number + 1}", stage)
            self.channels[number + 2] = channels * design.block.expansion
        start_convolutions(self)

    def forward(self, images: Tensor, after_block: AfterBlock | None = None) -> dict[int, Tensor]:
        """Return the features of the layers 1 to 5 of images (b, 3, h, w).

        `after_block(layer, block, value)` may change what a block of the layers 2 to 5 hands on; blocks count from 0.
        """
        features = {1: self.relu(self.bn1(self.conv1(images)))}
        value = self.maxpool(features[1])
        for layer, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), start=2):
            value = features[layer] = stage(value, partial(after_block, layer) if after_block else None)
        return features

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of stage 4."""
        return list(self.layer4.parameters())


def build_network(name: str, path: Path | None, image_size: int = 224) -> ResNet:
    """Build a ResNet by name, with the weights of a torchvision file or, without `path`, random ones.

    It takes images of every size, so that `image_size` makes no difference.
    """
    network = ResNet(DESIGNS[name])
    if path is not None:
        load_weights(network, path, ignore=("fc.",))
    return network


def start_convolutions(network: nn.Module) -> None:
    """Start all convolutions of a network kaiming-normal (He et al., 2015, fan out)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _stage(block: type[BasicBlock] | type[Bottleneck], inputs: int, channels: int, *, depth: int, stride: int) -> Stage:
    outputs = channels * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        convolution = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
    first = block(inputs, channels, stride, shortcut)
    return Stage(first, *(block(outputs, channels) for _ in range(depth - 1)))
