"""What every method is: a network with a head, a loss, an augmentation and a class activation map."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from au_guidance.expressions import Expression
from au_guidance.tables import suggestion
from pipeline.errors import UserError
from pipeline.plugins import load
from train.backbones.base import Backbone, build_backbone, layer_sides
from train.card.checks import check_layers, check_model
from train.card.schema import Card, Model

FINE = 7  # pixels; an AU map at fewer can hardly tell one AU from another


@dataclass(frozen=True)
class Batch:
    """Training samples: images (b, 3, h, w) normalised, target (b, k) probabilities, heatmaps (b, h, w) in [0, 1].

    `valid` (b,) is True where a face has a heatmap; Neutral and failed landmarks have none. Heatmaps cover the images'
    square at any resolution; what an invalid row holds is not looked at.
    """

    images: Tensor
    target: Tensor
    heatmaps: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Output:
    """What a forward pass gives: logits (b, k), features {layer: (b, c, h, w)}, the head's maps (b, k, h, w) if any.

    `images` are the batch itself, only from methods whose class map is traced back to it.
    """

    logits: Tensor
    features: dict[int, Tensor]
    maps: Tensor | None = None
    extra_logits: tuple[Tensor, ...] = ()
    images: Tensor | None = None

    def class_map(self, classes: Tensor) -> Tensor:
        """Return the head's map (b, h, w) of one class (b,) per image, detached."""
        if self.maps is None:
            raise RuntimeError("this output holds no maps")
        return self.maps[torch.arange(len(classes), device=classes.device), classes].detach().float()


def _with_any_classes(cam: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    """Give a `cam` its classes as a tensor (b,) beside the logits; raise ValueError if they are none."""

    @wraps(cam)
    def wrapped(self: Any, output: Output, classes: Any) -> Tensor | None:
        chosen, count = torch.as_tensor(classes, device=output.logits.device), len(output.logits)
        if chosen.shape not in ((), (count,)) or chosen.is_floating_point():
            raise ValueError(f"a class is needed for each of {count} images, or one for all; not {classes!r}")
        return cam(self, output, chosen.long().expand(count))

    return wrapped


class Method(nn.Module):
    """Base of all methods; a method overrides what its paper changes.

    `needs_gradient` says that `cam` differentiates: the forward pass before it must run with gradients enabled.
    """

    needs_gradient = False
    backbone: Backbone

    def __init_subclass__(cls, **named: Any) -> None:
        """Let every method's `cam` take classes as its callers have them."""
        super().__init_subclass__(**named)
        if "cam" in vars(cls):
            cls.cam = _with_any_classes(cls.cam)  # type: ignore[method-assign]

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w); `target` (b, k) only where the method's training needs it."""
        raise NotImplementedError

    @_with_any_classes
    def cam(self, output: Output, classes: Tensor) -> Tensor | None:
        """Return the raw map (b, h, w) of one class per image at native size, by default the head's map of it.

        None if the method has none. Callers may give the classes as any tensor, array or list of numbers or
        expressions, or one for all images.
        """
        return output.class_map(classes)

    def augment(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Change a training batch; images, targets and heatmaps move together.

        All random numbers come from `generator`, which the loop seeds for each step, or from torch's own.
        """
        return batch

    def classification_loss(self, output: Output, target: Tensor) -> Tensor:
        """Mean cross-entropy between logits and target probabilities (b, k), which class weights may have scaled."""
        return F.cross_entropy(output.logits.float(), target)

    def initialise(self, model: Model) -> None:
        """Finish what the backbone's pretrained weights began; called once, before a training."""

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the last stage and of all outside the backbone, which `head_lr_ratio` speeds up."""
        head = [value for name, value in self.named_parameters() if not name.startswith("backbone.")]
        return [*self.backbone.last_stage_parameters(), *head]


def published(mode: str) -> bool:
    """Tell whether the option `mode` asks for what the published code does instead of the method's own paper."""
    known = ("original", "published")
    if mode not in known:
        raise UserError(f"model.options.mode: there is no mode {mode!r}{suggestion(str(mode), known)}")
    return mode == "published"


def start_head(head: nn.Module) -> None:
    """Start all linear layers and convolutions of a head xavier-uniform with zero bias."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(cast(Tensor, layer.bias))


def coarse_maps(method: Method, model: Model) -> str | None:
    """Return a warning if layer 5, where maps are read, is smaller than 7x7 at the image size of the card."""
    side = layer_sides(method.backbone, model.image_size).get(5, FINE)
    if side >= FINE:
        return None
    remedy = " or a smaller model.output_stride (8, 16)" if model.backbone.startswith("timm/") else ""
    return (
        f"warning: layer 5 of {model.backbone} is {side}x{side} at {model.image_size} px, too coarse for AU maps; "
        f"give a larger model.image_size{remedy}"
    )


def build_method(card: Card, *, initialise: bool = True) -> Method:
    """Build the network of a card: the one class of `train/methods/<method>.py` on the card's backbone.

    `initialise` puts the weights of `model.init` into the backbone and lets the method do its part. Raises UserError on
    unknown names and options, on missing weights, and when a guided layer is not there.
    """
    check_model(card)
    module = load("train.methods", card.method)
    kinds = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Method)]
    (kind,) = (value for value in kinds if value.__module__ == module.__name__)
    model = card.model
    init = model.init if initialise else "none"
    network = build_backbone(
        model.backbone,
        image_size=model.image_size,
        init=init,
        weights=model.weights,
        output_stride=model.output_stride,
    )
    method = kind(network, len(Expression), **model.options)
    check_layers(card, method.backbone.channels)
    if initialise:
        method.initialise(model)
    return method
