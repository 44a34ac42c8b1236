"""What every backbone is: a network that returns the features of its layers, built by its name in the card."""

from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from train.backbones.registry import BACKBONES
from train.weights.load import weights_file


class Backbone(nn.Module):
    """A network that turns images (b, 3, h, w) into features {layer: (b, c, h', w')}; layer 5 is the last.

    `channels` maps the layers that it has (numbered as in the paper's Table 3) to their numbers of channels. `grid` is
    the side of the last layer's map where methods may give its places embeddings. `attends` says that a place
    weighs the others by their features, as attention does.
    """

    channels: dict[int, int]
    grid: int
    attends = False

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of every layer."""
        raise NotImplementedError

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters between the layers 4 and 5."""
        raise NotImplementedError


def build_backbone(
    name: str,
    *,
    image_size: int = 224,
    init: str = "imagenet",
    weights: Path = Path("weights"),
    output_stride: int | None = None,
) -> Backbone:
    """Build a backbone for square images of a side in pixels, with the weights that `init` names.

    `init` is "imagenet" or "ms1m", whose files lie in the folder `weights`, "none", or the path of a file.
    `output_stride` (8, 16 or 32) is for networks of timm. Raises UserError if the file is missing or holds something
    else, and if timm cannot build the network with that stride.
    """
    path = weights_file(init, f"backbone:{name}", weights, key="model.init")
    known = BACKBONES.get(name)
    module = import_module(f"train.backbones.{known.module if known else 'timm'}")
    strides: dict[str, int] = {} if output_stride is None else {"output_stride": output_stride}
    backbone: Backbone = module.build_network(name.removeprefix("timm/"), path, image_size, **strides)
    return backbone


def layer_sides(backbone: Backbone, image_size: int) -> dict[int, int]:
    """Return the side of each layer's map in pixels, for square images; batch statistics stay as they are."""
    parameter, training = next(backbone.parameters()), backbone.training
    with torch.no_grad():
        features = backbone.eval()(torch.zeros(1, 3, image_size, image_size, device=parameter.device))
    backbone.train(training)
    return {layer: value.shape[-1] for layer, value in features.items()}
