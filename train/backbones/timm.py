"""Any network of timm by name, convolutional or transformer, with its own strides; its last map is layer 5.

A hierarchical network gives its last five feature maps, one with fewer has the layers up to 5. A plain transformer,
whose blocks all have one stride, gives five of its blocks spread evenly, the last with the final norm; its tokens
become maps. Networks that are built for one image size are built for the card's.
"""

import sys
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.errors import UserError
from train.backbones.base import Backbone
from train.weights.load import load_weights

LAYERS = 5
ATTENTION = {
    *(F.softmax, torch.softmax, Tensor.softmax, F.scaled_dot_product_attention, F.multi_head_attention_forward),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm, torch.einsum, torch.lstm),
}


class TimmBackbone(Backbone):
    """Features of a timm network as layers, with the weights of a file or, without `path`, random ones.

    `plain` says that it is a transformer without a hierarchy.
    """

    network: Any

    def __init__(self, name: str, path: Path | None, image_size: int) -> None:
        super().__init__()
        self.network = _create(name, image_size)
        if path is not None:
            load_weights(self.network, path, adapt=lambda tensors: resampled(tensors, self.network))
        try:
            stages = list(self.network.feature_info)
            self.plain = len(stages) > 1 and len({stage["reduction"] for stage in stages}) == 1
            self.taken = spread(len(stages)) if self.plain else list(range(len(stages)))[-LAYERS:]
            self.network.prune_intermediate_layers(self.taken, prune_norm=not self.plain, prune_head=True)
        except (AttributeError, AssertionError, TypeError, ValueError):
            raise UserError(f"model.backbone: timm/{name} does not hand out feature maps; choose another") from None
        if self.plain:
            check_patches(f"timm/{name}", stages[0]["reduction"], image_size)
        self.modules_taken = [stages[number]["module"] for number in self.taken]
        numbers = range(LAYERS + 1 - len(self.taken), LAYERS + 1)
        self.channels = {layer: stages[number]["num_chs"] for layer, number in zip(numbers, self.taken, strict=True)}
        self.attends = self._try(name, image_size)

    def _try(self, name: str, image_size: int) -> bool:
        """Send one image through; return whether it met attention, raise UserError if the size does not fit."""
        try:
            with torch.no_grad(), AttentionDetector() as attention:
                self.eval()(torch.zeros(1, 3, image_size, image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _unfit(name, image_size, error) from None
        self.train()
        return bool(attention.found)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of the layers that the network has, channels first."""
        maps = self.network.forward_intermediates(images, indices=self.taken, intermediates_only=True)
        if self.plain:
            norm = getattr(self.network, "norm", nn.Identity())  # a few have none
            maps[-1] = norm(maps[-1].movedim(1, -1)).movedim(-1, 1)
        return dict(zip(self.channels, maps, strict=True))

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the modules behind layer 4; timm registers modules in the order they run in."""
        modules = list(self.network.named_modules())
        fourth = self.modules_taken[-2]
        start = max(place for place, (name, _) in enumerate(modules) if f"{name}.".startswith(f"{fourth}."))
        return [value for _, module in modules[start + 1 :] for value in module.parameters(recurse=False)]


build_network = TimmBackbone


class AttentionDetector(TorchFunctionMode):
    """While active, notes in `found` whether a softmax, a product of features or an LSTM ran.

    There a place's features depend on both ends of a connection, so that the random walk of `train.methods._peaks` has
    no rule and no probabilities.
    """

    found: bool = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function and note which one it is."""
        self.found |= function in ATTENTION
        return function(*args, **(kwargs or {}))


def spread(depth: int) -> list[int]:
    """Choose five of a number of blocks at equal distances, or all if there are fewer; the last is among them."""
    count = min(LAYERS, depth)
    return [round(depth * place / count) - 1 for place in range(1, count + 1)]


def check_patches(name: str, patch: int, image_size: int) -> None:
    """Raise UserError if square patches do not cover the images; the network would silently leave out a margin."""
    if image_size % patch:
        raise UserError(f"model.image_size: {image_size} px are no multiple of the {patch}-px patches of {name}")


def resampled(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Fit the positional embeddings of a file to a network of the same kind built for another image size.

    Each family of timm does this in its own way. A file with other names is left as it is, for the check that follows.
    """
    wanted = network.state_dict()
    same_names = wanted.keys() <= tensors.keys()
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None or not same_names or all(tensors[name].shape == wanted[name].shape for name in wanted):
        return tensors
    converted: dict[str, Tensor] = convert(tensors, network)
    return converted


def _create(name: str, image_size: int) -> Any:
    try:
        try:
            return timm.create_model(name, pretrained=False, img_size=image_size)
        except TypeError:  # networks that take images of any size have no such argument
            return timm.create_model(name, pretrained=False)
    except RuntimeError:
        raise UserError(f"model.backbone: timm has no network {name!r}; see timm.list_models()") from None
    except (AssertionError, ValueError) as error:
        raise _unfit(name, image_size, error) from None


def _unfit(name: str, image_size: int, error: Exception) -> UserError:
    reason, settings = " ".join(str(error).split())[:100], timm.get_pretrained_cfg(name)
    size = f"; its own size is {settings.input_size[-1]} px" if settings else ""
    return UserError(
        f"model.image_size: timm/{name} cannot be built for {image_size} px{reason and f': {reason}'}{size}"
    )
