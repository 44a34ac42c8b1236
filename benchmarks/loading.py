"""Shards to batches: a core's time per face, beside a loader that works the published way; bytes on disk."""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from au_guidance.expressions import Expression
from au_guidance.heatmap import draw
from benchmarks.faces import Prepared
from benchmarks.published_way import PublishedWay, full_size_map
from benchmarks.timing import Row, interleaved, row
from pipeline.geometry import rescale
from pipeline.storage import images, shards
from train.card.schema import Card, Heatmap
from train.data.batches import TrainingBatches
from train.data.prepared import Prepared as PreparedData

STAGE = "loading"
BATCH = 32
AFFECTNET = 287_401  # training and test images of the seven classes
CPU = torch.device("cpu")


def card(folder: Path, **changes: object) -> Card:
    """Make the card of a training at 224 px on the measured faces."""
    training = {"epochs": 1, "batch_size": BATCH, "learning_rate": 1e-3}
    return Card.model_validate(
        {
            "dataset": "drawn",
            "method": "cam",
            "variant": "au",
            "seed": 0,
            "protocol": "paper",
            "data": {"folder": folder},
            "heatmap": {},
            "model": {"backbone": "resnet50", "init": "none"},
            "training": training | {key: value for key, value in changes.items() if key != "weight"},
            "guidance": {"weight": changes.get("weight", 4.0)},
        }
    )


def measure(made: Prepared, repeats: int = 7) -> Iterator[Row]:
    """Time one epoch of batches of 224 px, ours and the published way's, on one core without workers."""
    prepared = PreparedData(made.folder, Heatmap())
    rows = prepared.rows("train")
    theirs = _published_way(made, prepared, rows)

    def ours(**changes: object) -> Callable[[], object]:
        batches = TrainingBatches(prepared, card(made.folder, **changes), rows, CPU)
        epochs = iter(range(10**6))
        return lambda: deque(batches.epoch(next(epochs)), maxlen=0)

    works = {
        "published way, without maps": lambda: _all(theirs(maps=False)),
        "published way, with maps": lambda: _all(theirs(maps=True)),
        "ours in memory, without maps": ours(weight=0.0),
        "ours in memory, with maps": ours(),
        "ours from the shards, without maps": ours(weight=0.0, faces="stream"),
        "ours from the shards, with maps": ours(faces="stream"),
        "ours in memory, with maps, published augmentation": ours(augmentation="published"),
    }
    spent = interleaved(works, repeats, CPU)
    for name, seconds in spent.items():
        yield row(STAGE, name, 1e3 * seconds / len(rows), "ms CPU per face")
    for maps in ("without maps", "with maps"):
        for place in ("in memory", "from the shards"):
            ratio = spent[f"published way, {maps}"] / spent[f"ours {place}, {maps}"]
            yield row(STAGE, f"published way against ours {place}, {maps}", ratio, "times", ">= 20")
    heavy = spent["published way, with maps"] / spent["ours in memory, with maps, published augmentation"]
    yield row(STAGE, "published way against ours, with maps and the published augmentation", heavy, "times")
    yield from _maps(prepared, rows, repeats)
    yield from _bytes(made)


def _published_way(made: Prepared, prepared: PreparedData, rows: np.ndarray) -> Callable[..., PublishedWay]:
    folder = made.folder / "aligned"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{row}.jpg" for row in rows]
    for file, place in zip(files, rows, strict=True):
        file.write_bytes(images.encode(prepared.image(int(place))).tobytes())
    points = rescale(prepared.points[rows], 224, 224)
    return lambda maps: PublishedWay(files, prepared.expressions[rows], points, maps=maps)


def _all(faces: PublishedWay) -> None:
    for _ in DataLoader(faces, batch_size=BATCH):
        pass


def _maps(prepared: PreparedData, rows: np.ndarray, repeats: int) -> Iterator[Row]:
    """Draw every face's map of its class once."""
    known = [row for row in rows if prepared.heatmap(row) is not None]
    faces = [(prepared.shapes[row], Expression(prepared.expressions[row])) for row in known]
    points = prepared.points[known]
    works = {
        "one map, published way": lambda: [full_size_map(p, e) for p, (_, e) in zip(points, faces, strict=True)],
        "one map at 224 px": lambda: [draw(shape, expression) for shape, expression in faces],
        "one map at the layer's 28 px": lambda: [draw(shape, expression, 28) for shape, expression in _at_28(faces)],
    }
    for name, seconds in interleaved(works, repeats, CPU).items():
        target = "<= 0.15" if name.endswith("28 px") else ""
        yield row(STAGE, name, 1e3 * seconds / len(faces), "ms CPU", target)


def _at_28(faces: list[tuple[np.ndarray, Expression]]) -> list[tuple[np.ndarray, Expression]]:
    return [(np.concatenate([(s[:, :2] + 0.5) / 8 - 0.5, s[:, 2:4] / 8, s[:, 4:]], 1), e) for s, e in faces]


def _bytes(made: Prepared) -> Iterator[Row]:
    for stage in ("faces", "landmarks", "heatmaps"):
        count = len(shards.read(made.stage(stage), "id")["id"])
        size = made.stage(stage).stat().st_size / count
        yield Row("disk", f"{stage} shards", size, "bytes per image")
        yield Row("disk", f"{stage} shards of AffectNet at this rate", size * AFFECTNET / 1e9, "GB")
