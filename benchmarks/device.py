"""What the device can do at most: a large matrix product and a large copy, and what of that a training reaches."""

from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, interleaved, row
from train.hardware import precision

STAGE = "device"


def measure(device: torch.device, trained: float, repeats: int = 5) -> Iterator[Row]:
    """Measure both peaks; `trained` is how many images ResNet-50 with large maps trains on in a second."""
    side, kind = (8192 if device.type == "cuda" else 1024), precision("bf16", device)
    left = torch.randn(side, side, device=device, dtype=kind)
    source = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    spent = interleaved({"product": lambda: left @ left, "copy": lambda: target.copy_(source)}, repeats, device)
    operations = 2 * side**3 / spent["product"] / 1e12
    name = str(kind).removeprefix("torch.")
    yield row(STAGE, f"matrix product, {name}", operations, "TFLOP/s")
    yield row(STAGE, "copy, read and written", 2 * source.numel() / spent["copy"] / 1e9, "GB/s")
    reached = 100 * trained * _operations() / 1e12 / operations
    yield row(STAGE, "ResNet-50 large maps, training, of the matrix product's rate", reached, "%")


def _operations() -> float:
    """Count the operations of a training step of ResNet-50 with large maps for one image, without computing them."""
    from train.backbones import resnet  # noqa: PLC0415

    with torch.device("meta"):
        network = resnet.build_network("resnet50", None)
        images = torch.empty(1, 3, 224, 224)
        with FlopCounterMode(display=False) as counted:
            network(images)[5].sum().backward()
    return float(counted.get_total_flops())
