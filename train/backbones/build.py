"""A backbone by its name in the card."""

from importlib import import_module
from pathlib import Path

from train.backbones.base import Backbone
from train.backbones.registry import BACKBONES
from train.weights.load import weights_file


def build_backbone(
    name: str, *, image_size: int = 224, init: str = "imagenet", weights: Path = Path("weights")
) -> Backbone:
    """Build a backbone for square images of a side in pixels, with the weights that `init` names.

    `init` is "imagenet" or "ms1m", whose files lie in the folder `weights`, "none", or the path of a file. Raises
    UserError if that file is missing or holds something else.
    """
    path = weights_file(init, f"backbone:{name}", weights, key="model.init")
    known = BACKBONES.get(name)
    module = import_module(f"train.backbones.{known.module if known else 'timm'}")
    backbone: Backbone = module.build_network(name.removeprefix("timm/"), path, image_size)
    return backbone
