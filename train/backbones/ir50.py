"""IR-50 up to its third stage, which APViT extracts features with (improved residual units; Deng et al., CVPR 2019).

Tensor names are face.evoLVe's, but `body` is cut into stages: `body.<stage>.<unit>`.
"""

from pathlib import Path

from torch import Tensor, nn

from train.backbones.base import Backbone
from train.weights.load import load_weights

DESIGNS = {  # units and channels of the three stages
    "ir50": ((3, 4, 14), (64, 128, 256)),
    "ir50_micro": ((1, 1, 2), (32, 64, 128)),  # for the demo on a CPU
}


class Unit(nn.Module):
    """Two 3x3 convolutions, the second with the stride, beside a shortcut; nothing follows the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(kernel_size=1, stride=stride)
        if inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            self.shortcut_layer = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of half the size where the stride is 2."""
        residual: Tensor = self.res_layer(features)
        shortcut: Tensor = self.shortcut_layer(features)
        return residual + shortcut


class ImprovedResNet(Backbone):
    """Layer 1 is the output of stage 3, an eighth of the images' size; it is the only layer.

    `grid` is its side for the images of the card, pixels.
    """

    def __init__(self, depths: tuple[int, ...], widths: tuple[int, ...], image_size: int) -> None:
        super().__init__()
        first, *_, last = widths
        convolution = nn.Conv2d(3, first, kernel_size=3, padding=1, bias=False)
        self.input_layer = nn.Sequential(convolution, nn.BatchNorm2d(first), nn.PReLU(first))
        self.body = nn.Sequential(*map(_stage, (first, *widths), widths, depths))
        self.channels = {1: last}
        self.grid = -(-image_size // 8)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of images (b, 3, h, w) as layer 1."""
        return {1: self.body(self.input_layer(images))}

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of stage 3."""
        return list(self.body[-1].parameters())


def build_network(name: str, path: Path | None, image_size: int) -> ImprovedResNet:
    """Build a network by name, with the weights of a face.evoLVe file or, without `path`, random ones."""
    depths, widths = DESIGNS[name]
    network = ImprovedResNet(depths, widths, image_size)
    if path is not None:
        load_weights(network, path, ignore=("output_layer.",), adapt=lambda tensors: _staged(tensors, depths))
    return network


def _stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    return nn.Sequential(Unit(inputs, outputs, 2), *(Unit(outputs, outputs, 1) for _ in range(depth - 1)))


def _staged(tensors: dict[str, Tensor], depths: tuple[int, ...]) -> dict[str, Tensor]:
    """Rename `body.<number>` to `body.<stage>.<unit>`; stage 4, which is not built, is left out."""
    places = [f"body.{stage}.{unit}" for stage, depth in enumerate(depths) for unit in range(depth)]
    renamed = {}
    for name, value in tensors.items():
        part, _, rest = name.removeprefix("body.").partition(".")
        if not name.startswith("body.") or not part.isdigit():
            renamed[name] = value
        elif int(part) < len(places):
            renamed[f"{places[int(part)]}.{rest}"] = value
    return renamed
