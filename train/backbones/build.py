"""A backbone by its name in the card."""

from importlib import import_module

from train.backbones.base import Backbone
from train.backbones.registry import BACKBONES
from train.card.schema import Model
from train.weights.load import weights_file


def build_backbone(model: Model, *, initialise: bool = True) -> Backbone:
    """Build the backbone of a card; with `initialise` put in the weights that `model.init` asks for.

    Raises UserError when the file with weights is missing or holds something else.
    """
    path = (
        weights_file(model.init, f"backbone:{model.backbone}", model.weights, key="model.init") if initialise else None
    )
    known = BACKBONES.get(model.backbone)
    module = import_module(f"train.backbones.{known.module if known else 'timm'}")
    backbone: Backbone = module.build_network(model.backbone.removeprefix("timm/"), path, model.image_size)
    return backbone
