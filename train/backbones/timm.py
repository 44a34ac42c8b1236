"""Any convolutional network of timm by name, with its own strides; the last of its feature maps is layer 5."""

from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from pipeline.errors import UserError
from train.backbone import Backbone, load_weights


class TimmBackbone(Backbone):
    """The last five feature maps of a timm network are the layers 1 to 5; a network with four has the layers 2 to 5."""

    network: Any

    def __init__(self, name: str, path: Path | None) -> None:
        super().__init__()
        try:
            self.network = timm.create_model(name, pretrained=False)
        except RuntimeError:
            raise UserError(f"model.backbone: timm has no network {name!r}; see timm.list_models()") from None
        if path is not None:
            load_weights(self.network, path)
        stages = list(self.network.feature_info)
        self.first = max(len(stages) - 5, 0)
        self.channels = dict(zip(range(6 - len(stages[self.first :]), 6), _channels(stages[self.first :]), strict=True))
        self.last_stage = stages[-1]["module"]
        try:
            self.network.prune_intermediate_layers(len(stages), prune_norm=True, prune_head=True)
        except (AttributeError, AssertionError, TypeError, ValueError):
            raise UserError(f"model.backbone: timm/{name} does not hand out feature maps; choose another") from None

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of the layers that the network has."""
        maps = self.network.forward_intermediates(images, intermediates_only=True)[self.first :]
        return dict(zip(self.channels, maps, strict=True))

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the module that timm names for the last feature map."""
        return list(self.network.get_submodule(self.last_stage).parameters())


def build(name: str, path: Path | None) -> TimmBackbone:
    """Build a timm network by name, with the weights of a file or, without `path`, random ones."""
    return TimmBackbone(name, path)


def _channels(stages: list[dict]) -> list[int]:
    return [stage["num_chs"] for stage in stages]
