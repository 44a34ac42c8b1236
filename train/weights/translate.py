"""Weights of a network that another library defines with the same tensors in the same order, under other names."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

KINDS = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"  # of batch normalisation; old files have none


def renamed(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors the names of `wanted` if both are the same kinds and shapes in the same order, else return them.

    torchvision's files of MobileNet, EfficientNet, ConvNeXt, RegNet, DenseNet and VGG fit timm's networks in this way.
    A 1x1 convolution and a linear layer, or a vector and a map of 1x1, count as the same shape.
    """
    names = [name for name in wanted if not name.endswith(COUNTER)]
    given = [name for name in _shortcuts_last(tensors) if not name.endswith(COUNTER)]
    if len(given) != len(names) or set(names) <= tensors.keys():
        return tensors
    pairs = list(zip(names, given, strict=True))
    if not all(_alike(name, wanted[name], other, tensors[other]) for name, other in pairs):
        return tensors
    return {name: tensors[other].reshape(wanted[name].shape) for name, other in pairs}


def _alike(name: str, value: Tensor, other: str, given: Tensor) -> bool:
    kinds = {last if (last := one.rpartition(".")[2]) in KINDS else "" for one in (name, other)}
    return len(kinds) == 1 and value.numel() == given.numel() and value.shape[:1] == given.shape[:1]


def _shortcuts_last(names: Iterable[str]) -> list[str]:
    """Move the tensors of a block's shortcut, which RegNet of torchvision names first, behind its other ones."""
    blocks = {name: re.split(r"\.(?:f|proj)\.", name)[0] for name in names}
    starts: dict[str, int] = {}
    for place, block in enumerate(blocks.values()):
        starts.setdefault(block, place)
    return sorted(blocks, key=lambda name: (starts[blocks[name]], ".proj." in name))
