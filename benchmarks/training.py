"""Training: what AU guidance costs per step and per epoch, how fast networks train, the peak rates of the device."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from au_guidance.loss import au_loss
from benchmarks.data import RESNET50, SMALL, BenchmarkData, Network
from benchmarks.timing import Row, Seconds, summarise, time_tasks
from train.backbones import resnet
from train.card.schema import Heatmap
from train.data.prepared import Prepared
from train.engine.loop import Trainer
from train.engine.progress import Progress
from train.hardware import precision
from train.methods.base import Batch

STAGE = "training"
# The paper's networks; ResNet-50 with its large maps.
NETWORKS: tuple[Network, ...] = (RESNET50, ("tscam", "deit_small", 224, 1), ("apvit", "ir50", 112, 1))
GPU_BATCH_SIZES = (32, 224)  # the paper's
CPU_BATCH_SIZES = (2,)


def measure(data: BenchmarkData, device: torch.device, repeats: int = 7) -> Iterator[Row]:
    """Time steps of the paper's networks, the AU loss alone, and epochs of a small network with their validation."""
    for network in NETWORKS:
        for size in GPU_BATCH_SIZES if device.type == "cuda" else CPU_BATCH_SIZES:
            yield from _steps(_trainers(data, device, network), size, device, repeats)
    if device.type == "cpu":
        yield from _epochs(data, device, repeats)


def _trainers(data: BenchmarkData, device: torch.device, network: Network) -> dict[str, Trainer]:
    """Prepare two trainings that differ in the AU term only."""
    weights = {"without AU": 0.0, "with AU": 4.0}
    cards = {which: data.card(network=network, weight=weight, amp="bf16") for which, weight in weights.items()}
    prepared = Prepared(data.folder, Heatmap())
    return {which: Trainer(card, prepared, device, data.folder / "state") for which, card in cards.items()}


def _steps(trainers: dict[str, Trainer], size: int, device: torch.device, repeats: int) -> Iterator[Row]:
    """Alternate steps of two trainings; faces and maps are ready in memory."""
    guided = trainers["with AU"]
    model = guided.card.model
    name = f"{model.backbone} at {model.image_size} px, batch {size}"
    batch = _random_batch(size, model.image_size, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    tasks = {which: partial(trainer.learner.step, batch, torch.Generator()) for which, trainer in trainers.items()}
    seconds = time_tasks(tasks, repeats, device)
    for which, values in seconds.items():
        yield summarise(STAGE, f"{name}, {which}", size / values, "images/s")
    overhead = 100 * (seconds["with AU"] / seconds["without AU"] - 1)
    yield summarise(STAGE, f"{name}, AU overhead of a step", overhead, "%", "<= 2")
    share = 100 * _loss_alone(guided, batch, repeats) / float(np.median(seconds["without AU"]))
    yield summarise(STAGE, f"{name}, AU loss alone against a step", share, "%", "<= 2")
    stored = sum(tensor.nbytes for tensor in guided.learner.method.state_dict().values())
    yield Row("disk", f"{model.backbone} checkpoint", stored / 1e6, "MB")
    if device.type == "cuda":
        yield Row(STAGE, f"{name}, peak memory", torch.cuda.max_memory_allocated(device) / 1e9, "GB")


def _random_batch(size: int, side: int, device: torch.device) -> Batch:
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(size, 3, side, side, device=device, generator=generator)
    return Batch(
        images.contiguous(memory_format=torch.channels_last),
        F.one_hot(torch.arange(size, device=device) % 7, 7).float(),
        torch.rand(size, side, side, device=device, generator=generator),
        torch.arange(size, device=device) % 5 > 0,
    )


def _loss_alone(trainer: Trainer, batch: Batch, repeats: int) -> Seconds:
    """Time the AU loss, forward and backward, on a network's features: its share of a step without the step's noise."""
    layer = trainer.card.guidance.layers[0]
    with torch.no_grad(), torch.autocast(batch.images.device.type, torch.bfloat16):
        features = trainer.learner.method(batch.images, batch.target).features[layer]
    features = features.detach().requires_grad_()

    def loss() -> None:
        torch.autograd.backward(au_loss({layer: features}, batch.heatmaps, batch.valid, layers=[layer]))

    return time_tasks({"loss": loss}, repeats, batch.images.device)["loss"]


def _epochs(data: BenchmarkData, device: torch.device, repeats: int) -> Iterator[Row]:
    """Alternate whole epochs of a quarter-width ResNet-18 at 64 px: loading, drawing, steps, validation."""
    trainers = _trainers(data, device, SMALL)
    tasks: dict[str, Callable[[], object]] = {
        which: partial(train_epoch, trainer, Progress(trainer.card, 1, data.folder, done=0))
        for which, trainer in trainers.items()
    }
    guided = trainers["with AU"]
    tasks["validation"] = guided.validate
    seconds = time_tasks(tasks, repeats, device)
    n_faces, n_validation = len(guided.train_rows), len(guided.validation_rows)
    for which in trainers:
        yield summarise(STAGE, f"small network, epoch {which}", 1e3 * seconds[which] / n_faces, "ms CPU per face")
    overhead = 100 * (seconds["with AU"] / seconds["without AU"] - 1)
    yield summarise(STAGE, "small network, AU overhead of an epoch", overhead, "%", "<= 2")
    quarter = 0.25 * seconds["validation"] / n_validation  # RAF-DB has 3,068 test faces for 12,271 training faces
    share = 100 * quarter / (seconds["with AU"] / n_faces)
    yield summarise(STAGE, "small network, validation of a quarter as many faces", share, "% of an epoch", "<= 10")


def train_epoch(trainer: Trainer, progress: Progress) -> None:
    """Train one epoch from its first step, also if the trainer has trained it before."""
    trainer.step = 0
    trainer._epoch(0, progress)


def measure_peaks(device: torch.device, training_rate: float, repeats: int = 5) -> Iterator[Row]:
    """Measure both peaks; `training_rate` is the images per second at which ResNet-50 with large maps trains."""
    side, dtype = (8192 if device.type == "cuda" else 1024), precision("bf16", device)
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    tasks = {"product": lambda: matrix @ matrix, "copy": lambda: target.copy_(source)}
    seconds = time_tasks(tasks, repeats, device)
    peak = 2 * side**3 / seconds["product"] / 1e12
    yield summarise("device", f"matrix product, {str(dtype).removeprefix('torch.')}", peak, "TFLOP/s")
    yield summarise("device", "copy, read and written", 2 * source.numel() / seconds["copy"] / 1e9, "GB/s")
    reached = 100 * training_rate * _training_flops() / 1e12 / peak
    yield summarise("device", "ResNet-50 large maps, training, of the matrix product's rate", reached, "%")


def _training_flops() -> float:
    """Count the operations of a training step of ResNet-50 with large maps for one image, without computing them."""
    with torch.device("meta"):
        network = resnet.build_network("resnet50", None)
        images = torch.empty(1, 3, 224, 224)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.backward(network(images)[5].sum())
    return float(counter.get_total_flops())
