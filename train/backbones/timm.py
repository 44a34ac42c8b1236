"""Any network of timm by name, convolutional or transformer, with its own strides; its last map is layer 5.

A hierarchical network gives its last five feature maps, one with fewer has the layers up to 5. Layer 5 is the map that
the network itself pools, behind the convolution and activation of its head where it has them (EfficientNet,
MobileNetV2). A CNN that ends without an activation (ConvNeXt) gets a ReLU, because the mean over channels of signed
features is no attention. A plain transformer, whose blocks all have one stride, gives five of its blocks spread evenly,
the last with the final norm; its tokens become maps. Networks that are built for one image size are built for the
card's.
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
from train.weights.translate import renamed

LAYERS = 5
ATTENTION = {
    *(F.softmax, torch.softmax, Tensor.softmax, F.scaled_dot_product_attention, F.multi_head_attention_forward),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm, torch.einsum, torch.lstm),
}
# What a network's last operation may be called in its graph; these give no or hardly any negative values.
ACTIVATIONS = {
    f"{name}Backward0"
    for name in ("Relu", "Hardtanh", "Silu", "Hardswish", "Gelu", "Mish", "LeakyRelu", "Elu", "PreluKernel")
}


class TimmBackbone(Backbone):
    """Features of a timm network as layers, with the weights of a file or, without `path`, random ones.

    `plain` says that it is a transformer without a hierarchy. `output_stride` is how often layer 5 is smaller than the
    images, where timm can build the network so.
    """

    network: Any

    def __init__(self, name: str, path: Path | None, image_size: int, output_stride: int | None = None) -> None:
        super().__init__()
        self.network = _create(name, image_size, output_stride)
        if path is not None:
            load_weights(self.network, path, adapt=lambda tensors: adapted(tensors, self.network))
        try:
            stages = list(self.network.feature_info)
            self.plain = len(stages) > 1 and len({stage["reduction"] for stage in stages}) == 1
            self.taken = spread(len(stages)) if self.plain else _last_stages(stages, self.network)
            self.network.prune_intermediate_layers(self.taken, prune_norm=False, prune_head=False)
        except (AttributeError, AssertionError, TypeError, ValueError):
            raise UserError(f"model.backbone: timm/{name} does not hand out feature maps; choose another") from None
        if self.plain:
            check_patches(f"timm/{name}", stages[0]["reduction"], image_size)
        self.modules_taken = [stages[number]["module"] for number in self.taken]
        self.activation: nn.Module = nn.Identity()
        self._try(name, image_size)

    def _try(self, name: str, image_size: int) -> None:
        """Send one image through: note channels and attention, end with an activation, drop what takes no part.

        Raises UserError if the size does not fit.
        """
        try:
            with torch.enable_grad(), AttentionDetector() as attention:
                features = self.eval()(torch.zeros(1, 3, image_size, image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _unfit(name, image_size, error) from None
        self.train()
        self.channels = {layer: value.shape[1] for layer, value in features.items()}
        self.attends = bool(attention.found)
        drop_unused(self.network, list(features.values()))
        if not (self.plain or self.attends or type(features[LAYERS].grad_fn).__name__ in ACTIVATIONS):
            self.activation = nn.ReLU()

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of the layers that the network has, channels first."""
        last, maps = self.network.forward_intermediates(images, indices=self.taken)
        if self.plain:
            norm = getattr(self.network, "norm", nn.Identity())  # a few have none
            maps[-1] = norm(maps[-1].movedim(1, -1)).movedim(-1, 1)
        elif isinstance(last, Tensor) and last.shape[2:] == maps[-1].shape[2:]:  # else it is a list of tokens
            maps[-1] = last
        maps[-1] = self.activation(maps[-1])
        return dict(zip(range(LAYERS + 1 - len(maps), LAYERS + 1), maps, strict=True))

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


def drop_unused(network: nn.Module, outputs: list[Tensor]) -> None:
    """Replace all modules by an identity whose parameters have no part in the outputs, such as a classifier."""
    values = [value for value in network.parameters() if value.requires_grad]
    slopes = torch.autograd.grad(outputs, values, [torch.ones_like(one) for one in outputs], allow_unused=True)
    used = {id(value) for value, slope in zip(values, slopes, strict=True) if slope is not None}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            own = list(child.parameters())
            if own and not any(id(value) in used for value in own):
                setattr(parent, name, nn.ModuleList() if isinstance(child, nn.ModuleList) else nn.Identity())


def check_patches(name: str, patch: int, image_size: int) -> None:
    """Raise UserError if square patches do not cover the images; the network would silently leave out a margin."""
    if image_size % patch:
        raise UserError(f"model.image_size: {image_size} px are no multiple of the {patch}-px patches of {name}")


def adapted(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Fit the tensors of a file to a network of the same kind: torchvision's names, embeddings of another image size.

    Each family of timm resamples its positional embeddings in its own way. A file of another network is left as it is,
    for the check that follows.
    """
    tensors, wanted = renamed(tensors, network.state_dict()), network.state_dict()
    same_names = wanted.keys() <= tensors.keys()
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None or not same_names or all(tensors[name].shape == wanted[name].shape for name in wanted):
        return tensors
    converted: dict[str, Tensor] = convert(tensors, network)
    return converted


def _last_stages(stages: list[dict[str, Any]], network: nn.Module) -> list[int]:
    """Choose the last five stages, but no final pooling (VGG)."""
    last = dict(network.named_modules()).get(stages[-1]["module"])
    return list(range(len(stages) - isinstance(last, nn.MaxPool2d)))[-LAYERS:]


def _create(name: str, image_size: int, output_stride: int | None) -> Any:
    options: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    try:
        try:
            return timm.create_model(name, pretrained=False, img_size=image_size, **options)
        except TypeError:  # networks that take images of any size have no such argument
            return timm.create_model(name, pretrained=False, **options)
    except RuntimeError:
        raise UserError(f"model.backbone: timm has no network {name!r}; see timm.list_models()") from None
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        if output_stride is not None:
            raise UserError(
                f"model.output_stride: timm cannot build {name} with {output_stride}; leave it out"
            ) from None
        raise _unfit(name, image_size, error) from None


def _unfit(name: str, image_size: int, error: Exception) -> UserError:
    reason, settings = " ".join(str(error).split())[:100], timm.get_pretrained_cfg(name)
    size = f"; its own size is {settings.input_size[-1]} px" if settings else ""
    return UserError(
        f"model.image_size: timm/{name} cannot be built for {image_size} px{reason and f': {reason}'}{size}"
    )
