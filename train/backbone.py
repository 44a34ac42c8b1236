"""What a backbone is, how it is built from its name in the card, and how weights from a file get into it."""

import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError
from train import sealed, weights
from train.config import MS1M, Model

DAMAGED = (pickle.UnpicklingError, struct.error, LookupError, AssertionError)  # what torch raises on damaged pickles
ZOO = "face.evoLVe (https://github.com/ZhaoJ9014/face.evoLVe)"


class Backbone(nn.Module):
    """A network that turns images (b, 3, h, w) into features {layer: (b, c, h', w')}; layer 5 is the last.

    `channels` maps the layers that it has (numbered as in the paper's Table 3) to their numbers of channels. `grid` is
    the side of the last layer's map where methods may give its places embeddings. `attends` says that what a place
    takes from another one depends on both, as in attention.
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


def build(model: Model, *, initialise: bool = True) -> Backbone:
    """Build the backbone of a card; with `initialise` put in the weights that `model.init` asks for.

    Raises UserError when the file with weights is missing or holds something else.
    """
    from train.backbones import ir50, resnet, timm, vit  # noqa: PLC0415  (they know this module's base class)

    need = f"backbone:{model.backbone}"
    path = weights_file(model.init, need, model.weights, key="model.init") if initialise else None
    if model.backbone.startswith("timm/"):
        return timm.build(model.backbone.removeprefix("timm/"), path, model.image_size)
    if model.backbone in vit.DESIGNS:
        return vit.build(model.backbone, path, model.image_size)
    if model.backbone in ir50.DESIGNS:
        return ir50.build(model.backbone, path, model.image_size)
    return resnet.build(model.backbone, path)


def weights_file(init: str, need: str, folder: Path, *, key: str) -> Path | None:
    """Return the file with weights that the value `init` of a key names: "none", "imagenet", "ms1m" or a path.

    "imagenet" is the file of `need` below `folder`. Raises UserError if the file is not there.
    """
    if init == "none":
        return None
    if init == "imagenet":
        return weights.local(need, folder)
    if init == "ms1m" and not (folder / MS1M).is_file():
        raise UserError(f"{folder / MS1M} is missing: download that file from the model zoo of {ZOO} to that place")
    path = folder / MS1M if init == "ms1m" else Path(init)
    if not path.is_file():
        raise UserError(f"{key}: {path} does not exist; give imagenet, none or the path of a file with weights")
    return path


def load_weights(
    network: nn.Module,
    path: Path,
    *,
    ignore: tuple[str, ...] = (),
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> None:
    """Fill a network from a .pth or .safetensors file of tensors, no code run; names starting with `ignore` are left.

    Of a checkpoint of this project the backbone is taken. `adapt` renames or reshapes the tensors of the file first.
    Raises UserError that names the first tensor that is missing, has another shape or does not belong.
    """
    tensors, wanted = _without(adapt(_without(_backbone(read_tensors(path)), ignore)), ignore), network.state_dict()
    check_tensors(tensors, _without(wanted, ignore), path)
    network.load_state_dict(tensors, strict=False)


def _backbone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    own = {name: value for name, value in tensors.items() if name.startswith("backbone.")}
    return {name.removeprefix("backbone."): value for name, value in own.items()} or tensors


def _without(tensors: Mapping[str, Tensor], ignore: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(ignore)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors without executing code from it; a group's name leads those of its tensors."""
    try:
        if path.suffix == ".safetensors":
            return _sealed_or_foreign(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise UserError(f"{path} is not a file of weights: {' '.join(str(error).split())[:120]}") from None
    except DAMAGED as error:
        raise UserError(f"{path} is not a plain file of weights ({type(error).__name__})") from None
    if isinstance(content, dict) and isinstance(content.get("model"), dict):  # as DeiT's files are
        content = content["model"]
    if isinstance(content, dict) and content and all(isinstance(part, dict) for part in content.values()):
        content = {f"{group}.{name}": value for group, part in content.items() for name, value in part.items()}
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} does not hold named tensors; give a state_dict saved with torch.save")
    return content


def _sealed_or_foreign(path: Path) -> dict[str, Tensor]:
    """Read a file of safetensors; one that this project wrote has a checksum, other people's need none."""
    with safe_open(path, "numpy") as file:
        own = sealed.SEAL in (file.metadata() or {})
    if own and not sealed.unbroken(path):
        raise UserError(f"{path} is damaged (its checksum does not match); make it again")
    return load_file(path)


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError that names the first tensor of `found` that does not fit `wanted`."""
    for name, value in wanted.items():
        # Old files of torchvision come from before this counter; batch normalisation does not use it here.
        if name not in found and not name.endswith("num_batches_tracked"):
            raise UserError(f"{path} fits another network: the tensor {name} is missing")
        if name in found and found[name].shape != value.shape:
            shapes = f"{tuple(found[name].shape)} instead of {tuple(value.shape)}"
            raise UserError(f"{path} fits another network: the tensor {name} is {shapes}")
    extra = [name for name in found if name not in wanted]
    if extra:
        raise UserError(f"{path} fits another network: the tensor {extra[0]} has no place in it")
