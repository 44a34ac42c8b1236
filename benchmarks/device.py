"""The peak rates of the device, from a large matrix product and a large copy, and the share that a training reaches."""

from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, summarise, time_tasks
from train.backbones import resnet
from train.hardware import precision

STAGE = "device"


def measure(device: torch.device, training_rate: float, repeats: int = 5) -> Iterator[Row]:
    """Measure both peaks; `training_rate` is the images per second at which ResNet-50 with large maps trains."""
    side, dtype = (8192 if device.type == "cuda" else 1024), precision("bf16", device)
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    tasks = {"product": lambda: matrix @ matrix, "copy": lambda: target.copy_(source)}
    seconds = time_tasks(tasks, repeats, device)
    peak = 2 * side**3 / seconds["product"] / 1e12
    yield summarise(STAGE, f"matrix product, {str(dtype).removeprefix('torch.')}", peak, "TFLOP/s")
    yield summarise(STAGE, "copy, read and written", 2 * source.numel() / seconds["copy"] / 1e9, "GB/s")
    reached = 100 * training_rate * _training_flops() / 1e12 / peak
    yield summarise(STAGE, "ResNet-50 large maps, training, of the matrix product's rate", reached, "%")


def _training_flops() -> float:
    """Count the operations of a training step of ResNet-50 with large maps for one image, without computing them."""
    with torch.device("meta"):
        network = resnet.build_network("resnet50", None)
        images = torch.empty(1, 3, 224, 224)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.backward(network(images)[5].sum())
    return float(counter.get_total_flops())
