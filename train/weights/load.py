"""Pretrained weights from a file into a network."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from pipeline.errors import UserError
from train.weights import fetch
from train.weights.known import MS1M
from train.weights.tensors import check_tensors, read_tensors

ZOO = "face.evoLVe (https://github.com/ZhaoJ9014/face.evoLVe)"


def weights_file(init: str, need: str, folder: Path, *, key: str) -> Path | None:
    """Return the file with weights that the value `init` of a key names: "none", "imagenet", "ms1m" or a path.

    "imagenet" is the file of `need` below `folder`. Raises UserError if the file is not there.
    """
    if init == "none":
        return None
    if init == "imagenet":
        return fetch.local_weights(need, folder)
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
