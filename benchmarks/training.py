"""Training: what AU guidance costs per step and per epoch, and how fast networks train on this machine."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from au_guidance.loss import au_loss
from benchmarks.data import BenchmarkData
from benchmarks.timing import Row, summarise, time_tasks
from train.card.schema import Card, Heatmap
from train.data.prepared import Prepared
from train.engine.loop import Trainer
from train.engine.progress import Progress
from train.methods.base import Batch

STAGE = "training"
# Method, backbone, input size, guided layer: the paper's networks; ResNet-50 with its large maps.
NETWORKS = (("cam", "resnet50", 224, 5), ("tscam", "deit_small", 224, 1), ("apvit", "ir50", 112, 1))
GPU_BATCH_SIZES = (32, 224)  # the paper's
CPU_BATCH_SIZES = (2,)


def measure(data: BenchmarkData, device: torch.device, repeats: int = 7) -> Iterator[Row]:
    """Time steps of the paper's networks, the AU loss alone, and epochs of a small network with their validation."""
    for method, backbone, side, layer in NETWORKS:
        card = _card(data, method, backbone, side, layer)
        for size in GPU_BATCH_SIZES if device.type == "cuda" else CPU_BATCH_SIZES:
            yield from _steps(f"{backbone} at {side} px, batch {size}", card, size, device, repeats)
    if device.type == "cpu":
        yield from _epochs(data, device, repeats)


def _card(data: BenchmarkData, method: str, backbone: str, side: int, layer: int) -> Card:
    card = data.card(amp="bf16")
    options = {"vit_weights": "none"} if method == "apvit" else {}
    model = card.model.model_copy(update={"backbone": backbone, "image_size": side, "options": options})
    guidance = card.guidance.model_copy(update={"layers": (layer,)})
    return card.model_copy(update={"method": method, "model": model, "guidance": guidance})


def _without_au(card: Card) -> Card:
    return card.model_copy(update={"guidance": card.guidance.model_copy(update={"weight": 0.0})})


def _trainer(card: Card, device: torch.device) -> Trainer:
    folder = card.data.folder
    return Trainer(card, Prepared(folder, Heatmap()), device, folder / "state")


def _steps(name: str, card: Card, size: int, device: torch.device, repeats: int) -> Iterator[Row]:
    """Alternate steps of two trainings that differ in the AU term only; faces and maps are ready in memory."""
    trainers = {"without AU": _trainer(_without_au(card), device), "with AU": _trainer(card, device)}
    batch = _random_batch(size, card.model.image_size, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    tasks = {which: partial(_step, trainer, batch) for which, trainer in trainers.items()}
    seconds = time_tasks(tasks, repeats, device)
    for which, values in seconds.items():
        yield summarise(STAGE, f"{name}, {which}", size / values, "images/s")
    overhead = 100 * (seconds["with AU"] / seconds["without AU"] - 1)
    yield summarise(STAGE, f"{name}, AU overhead of a step", overhead, "%", "<= 2")
    yield from _loss_alone(name, trainers["with AU"], batch, float(np.median(seconds["without AU"])), repeats)
    tensors = trainers["with AU"].learner.method.state_dict().values()
    stored = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    yield Row("disk", f"{card.model.backbone} checkpoint", stored / 1e6, "MB")
    if device.type == "cuda":
        yield Row(STAGE, f"{name}, peak memory", torch.cuda.max_memory_allocated(device) / 1e9, "GB")


def _step(trainer: Trainer, batch: Batch) -> None:
    trainer.learner.step(batch, torch.Generator())


def _random_batch(size: int, side: int, device: torch.device) -> Batch:
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(size, 3, side, side, device=device, generator=generator)
    return Batch(
        images.contiguous(memory_format=torch.channels_last),
        F.one_hot(torch.arange(size, device=device) % 7, 7).float(),
        torch.rand(size, side, side, device=device, generator=generator),
        torch.arange(size, device=device) % 5 > 0,
    )


def _loss_alone(name: str, trainer: Trainer, batch: Batch, step: float, repeats: int) -> Iterator[Row]:
    """Time the AU loss, forward and backward, on a network's features: its share of a step without the step's noise."""
    layer = trainer.card.guidance.layers[0]
    with torch.no_grad(), torch.autocast(batch.images.device.type, torch.bfloat16):
        features = trainer.learner.method(batch.images, batch.target).features[layer]
    features = features.detach().requires_grad_()

    def loss() -> None:
        torch.autograd.backward(au_loss({layer: features}, batch.heatmaps, batch.valid, layers=[layer]))

    seconds = time_tasks({"loss": loss}, repeats, batch.images.device)["loss"]
    yield summarise(STAGE, f"{name}, AU loss alone against a step", 100 * seconds / step, "%", "<= 2")


def _epochs(data: BenchmarkData, device: torch.device, repeats: int) -> Iterator[Row]:
    """Alternate whole epochs of a quarter-width ResNet-18 at 64 px: loading, drawing, steps, validation."""
    card = _card(data, "cam", "resnet18_quarter", 64, 5)
    trainers = {"without": _trainer(_without_au(card), device), "with": _trainer(card, device)}
    bars = {which: Progress(trainer.card, 1, data.folder, done=0) for which, trainer in trainers.items()}
    tasks: dict[str, Callable[[], object]] = {
        which: partial(trainer._epoch, 0, bars[which]) for which, trainer in trainers.items()
    }
    tasks["validation"] = trainers["with"].validate
    seconds = time_tasks(tasks, repeats, device)
    n_faces, n_validation = len(trainers["with"].train_rows), len(trainers["with"].validation_rows)
    for which in ("without", "with"):
        yield summarise(STAGE, f"small network, epoch {which} AU", 1e3 * seconds[which] / n_faces, "ms CPU per face")
    overhead = 100 * (seconds["with"] / seconds["without"] - 1)
    yield summarise(STAGE, "small network, AU overhead of an epoch", overhead, "%", "<= 2")
    quarter = 0.25 * seconds["validation"] / n_validation  # RAF-DB has 3,068 test faces for 12,271 training faces
    share = 100 * quarter / (seconds["with"] / n_faces)
    yield summarise(STAGE, "small network, validation of a quarter as many faces", share, "% of an epoch", "<= 10")
