"""Files of named tensors, read without running code from them, and put into networks."""

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
from train.weights import checksummed
from train.weights.fetch import MS1M, local_weights, missing_file_message

DAMAGED = (pickle.UnpicklingError, struct.error, LookupError, AssertionError)  # what torch raises on damaged pickles


def weights_file(init: str, need: str, folder: Path, *, key: str) -> Path | None:
    """Return the file with weights that the value `init` of a key names: "none", "imagenet", "ms1m" or a path.

    "imagenet" is the file of `need` below `folder`. Raises UserError if the file is not there.
    """
    if init == "none":
        return None
    if init == "imagenet":
        return local_weights(need, folder)
    path = folder / MS1M if init == "ms1m" else Path(init)
    if not path.is_file():
        raise UserError(missing_file_message(path, key))
    return path


def load_weights(
    network: nn.Module,
    path: Path,
    *,
    ignore: tuple[str, ...] = (),
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> None:
    """Load a .pth or .safetensors file of tensors, no code run; names that start with `ignore` are skipped.

    From a checkpoint of this project it loads the backbone. `adapt` renames or reshapes the tensors of the file first.
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
            return _load_safetensors(path)
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


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of safetensors; one that this project wrote has a checksum, which is verified."""
    with safe_open(path, "numpy") as file:
        own = checksummed.KEY in (file.metadata() or {})
    if own and not checksummed.checksum_matches(path):
        raise UserError(f"{path} is damaged (its checksum does not match); make it again")
    return load_file(path)


def check_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError that names the first tensor of `given` that does not fit `wanted`."""
    for name, value in wanted.items():
        # Old files of torchvision come from before this counter; batch normalisation does not use it here.
        if name not in given and not name.endswith("num_batches_tracked"):
            raise UserError(f"{path} fits another network: the tensor {name} is missing")
        if name in given and given[name].shape != value.shape:
            shapes = f"{tuple(given[name].shape)} instead of {tuple(value.shape)}"
            raise UserError(f"{path} fits another network: the tensor {name} is {shapes}")
    extra = [name for name in given if name not in wanted]
    if extra:
        raise UserError(f"{path} fits another network: the tensor {extra[0]} has no place in it")
