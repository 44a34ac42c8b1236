"""Steps and epochs with and without AU guidance: what it costs, and how fast networks train here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from au_guidance.loss import au_loss
from benchmarks.faces import Prepared
from benchmarks.loading import card
from benchmarks.timing import Row, interleaved, row
from train.card.schema import Card, Heatmap
from train.data.prepared import Prepared as PreparedData
from train.engine.loop import Trainer
from train.engine.progress import Progress
from train.methods.base import Batch

STAGE = "training"
# method, backbone, input, layer: the paper's networks; ResNet-50 with its large maps
NETWORKS = (("cam", "resnet50", 224, 5), ("tscam", "deit_small", 224, 1), ("apvit", "ir50", 112, 1))
ON_GPU = 32, 224  # batch sizes of the paper


def measure(made: Prepared, device: torch.device, repeats: int = 7) -> Iterator[Row]:
    """Time steps of the paper's networks, the AU loss alone, and epochs of a small network with their validation."""
    sizes = ON_GPU if device.type == "cuda" else (2,)
    for method, backbone, side, layer in NETWORKS:
        for size in sizes:
            given = _card(made.folder, method, backbone, side, layer)
            yield from _step(f"{backbone} at {side} px, batch {size}", given, size, device, repeats)
    if device.type == "cpu":
        yield from _epochs(made, device, repeats)


def _card(folder: Path, method: str, backbone: str, side: int, layer: int) -> Card:
    given = card(folder, amp="bf16")
    options = {"vit_weights": "none"} if method == "apvit" else {}
    model = given.model.model_copy(update={"backbone": backbone, "image_size": side, "options": options})
    guidance = given.guidance.model_copy(update={"layers": (layer,)})
    return given.model_copy(update={"method": method, "model": model, "guidance": guidance})


def _trainer(given: Card, made: Path, device: torch.device) -> Trainer:
    return Trainer(given, PreparedData(given.data.folder, Heatmap()), device, made / "state")


def _step(name: str, given: Card, size: int, device: torch.device, repeats: int) -> Iterator[Row]:
    """Interleave steps of two equal trainings, one with the AU term; maps and faces are there already."""
    plain = given.model_copy(update={"guidance": given.guidance.model_copy(update={"weight": 0.0})})
    trainers = {
        "without AU": _trainer(plain, given.data.folder, device),
        "with AU": _trainer(given, given.data.folder, device),
    }
    side = given.model.image_size
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(size, 3, side, side, device=device, generator=generator)
    batch = Batch(
        images.contiguous(memory_format=torch.channels_last),
        F.one_hot(torch.arange(size, device=device) % 7, 7).float(),
        torch.rand(size, side, side, device=device, generator=generator),
        torch.arange(size, device=device) % 5 > 0,
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    works = {which: lambda one=one: one._step(batch, torch.Generator()) for which, one in trainers.items()}
    spent = interleaved(works, repeats, device)
    for which, seconds in spent.items():
        yield row(STAGE, f"{name}, {which}", size / seconds, "images/s")
    yield row(STAGE, f"{name}, AU overhead of a step", 100 * (spent["with AU"] / spent["without AU"] - 1), "%", "<= 2")
    yield from _loss_alone(name, trainers["with AU"], batch, np.median(spent["without AU"]), repeats)
    stored = sum(part.numel() * part.element_size() for part in trainers["with AU"].method.state_dict().values())
    yield Row("disk", f"{given.model.backbone} checkpoint", stored / 1e6, "MB")
    if device.type == "cuda":
        yield Row(STAGE, f"{name}, peak memory", torch.cuda.max_memory_allocated(device) / 1e9, "GB")


def _loss_alone(name: str, trainer: Trainer, batch: Batch, step: float, repeats: int) -> Iterator[Row]:
    """Time the AU loss forward and backward on features as they come: its share of a step where noise hides it."""
    layer = trainer.card.guidance.layers[0]
    with torch.no_grad(), torch.autocast(batch.images.device.type, torch.bfloat16):
        features = trainer.method(batch.images, batch.target).features[layer]
    features = features.detach().requires_grad_()
    works = {"loss": lambda: au_loss({layer: features}, batch.heatmaps, batch.valid, layers=[layer]).backward()}
    seconds = interleaved(works, repeats, batch.images.device)["loss"]
    yield row(STAGE, f"{name}, AU loss alone against a step", 100 * seconds / step, "%", "<= 2")


def _epochs(made: Prepared, device: torch.device, repeats: int) -> Iterator[Row]:
    """Interleave whole epochs of a quarter-width ResNet-18 at 64 px: loading, drawing, steps, validation."""
    given = _card(made.folder, "cam", "resnet18_quarter", 64, 5)
    plain = given.model_copy(update={"guidance": given.guidance.model_copy(update={"weight": 0.0})})
    trainers = {which: _trainer(one, made.folder, device) for which, one in (("without", plain), ("with", given))}
    shown = {which: Progress(one.card, 1, made.folder, done=0) for which, one in trainers.items()}
    epochs = {which: lambda one=one, bar=shown[which]: one._epoch(0, bar) for which, one in trainers.items()}
    works: dict[str, Callable[[], object]] = {**epochs, "validation": trainers["with"].validate}
    spent = interleaved(works, repeats, device)
    faces = len(trainers["with"].train_rows)
    for which in ("without", "with"):
        yield row(STAGE, f"small network, epoch {which} AU", 1e3 * spent[which] / faces, "ms CPU per face")
    yield row(
        STAGE, "small network, AU overhead of an epoch", 100 * (spent["with"] / spent["without"] - 1), "%", "<= 2"
    )
    tested = len(trainers["with"].validation_rows)
    share = 100 * (spent["validation"] / tested * 0.25) / (spent["with"] / faces)  # RAF-DB: 3,068 to 12,271
    yield row(STAGE, "small network, validation of a quarter as many faces", share, "% of an epoch", "<= 10")
