"""Loading: time per face of one core from shards to batches, next to a loader like the published one; bytes on disk."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, repeat

import numpy as np
import torch
from torch.utils.data import DataLoader

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS, draw
from au_guidance.raster import GRID
from benchmarks.data import BATCH_SIZE, BenchmarkData
from benchmarks.published_loader import PublishedDataset, full_size_map
from benchmarks.timing import Row, summarise, time_tasks
from pipeline.geometry import rescale
from pipeline.storage import images, shards
from train.card.schema import Card, Heatmap
from train.data.batches import TrainingBatches
from train.data.prepared import Prepared, Rows

STAGE = "loading"
AFFECTNET = 287_401  # training and test images of the seven classes
CPU = torch.device("cpu")


def measure(data: BenchmarkData, repeats: int = 7) -> Iterator[Row]:
    """Time an epoch of batches of 224 px, ours and the published loader's, on one core without workers."""
    prepared = Prepared(data.folder, Heatmap())
    rows = prepared.rows("train")
    seconds = time_tasks(_tasks(data, prepared, rows), repeats, CPU)
    for name, values in seconds.items():
        yield summarise(STAGE, name, 1e3 * values / len(rows), "ms CPU per face")
    for maps in ("without maps", "with maps"):
        for place in ("in memory", "from the shards"):
            ratio = seconds[f"published loader, {maps}"] / seconds[f"ours {place}, {maps}"]
            yield summarise(STAGE, f"published loader against ours {place}, {maps}", ratio, "times", ">= 20")
    ratio = seconds["published loader, with maps"] / seconds["ours in memory, with maps, published augmentation"]
    yield summarise(STAGE, "published loader against ours, with maps and the published augmentation", ratio, "times")
    yield from _drawing(prepared, rows, repeats)
    yield from _disk(data)


def _tasks(data: BenchmarkData, prepared: Prepared, rows: Rows) -> dict[str, Callable[[], object]]:
    files = [data.folder / f"{row}.jpg" for row in rows]
    for file, row in zip(files, rows, strict=True):
        file.write_bytes(images.encode(prepared.image(int(row))).tobytes())

    def ours(card: Card) -> Callable[[], object]:
        batches, epochs = TrainingBatches(prepared, card, rows, CPU), count()
        return lambda: deque(batches.epoch(next(epochs)), maxlen=0)

    def theirs(*, maps: bool) -> Callable[[], object]:
        dataset = PublishedDataset(files, prepared.expressions[rows], prepared.points[rows], maps=maps)
        return lambda: deque(DataLoader(dataset, batch_size=BATCH_SIZE), maxlen=0)

    return {
        "published loader, without maps": theirs(maps=False),
        "published loader, with maps": theirs(maps=True),
        "ours in memory, without maps": ours(data.card(weight=0.0)),
        "ours in memory, with maps": ours(data.card()),
        "ours from the shards, without maps": ours(data.card(weight=0.0, faces="stream")),
        "ours from the shards, with maps": ours(data.card(faces="stream")),
        "ours in memory, with maps, published augmentation": ours(data.card(augmentation="published")),
    }


def _drawing(prepared: Prepared, rows: Rows, repeats: int) -> Iterator[Row]:
    """Time drawing the AU map of each face once."""
    valid = [row for row in rows if prepared.heatmap(row) is not None]
    expressions = [Expression(prepared.expressions[row]) for row in valid]
    points, shapes = prepared.points[valid], prepared.shapes[valid]
    small = np.concatenate([rescale(shapes[..., :2], CANVAS, GRID), shapes[..., 2:4] / 8, shapes[..., 4:]], axis=2)
    tasks = {
        "one map, published loader": lambda: deque(map(full_size_map, points, expressions), maxlen=0),
        "one map at 224 px": lambda: deque(map(draw, shapes, expressions), maxlen=0),
        "one map at the layer's 28 px": lambda: deque(map(draw, small, expressions, repeat(GRID)), maxlen=0),
    }
    for name, seconds in time_tasks(tasks, repeats, CPU).items():
        target = "<= 0.15" if name.endswith("28 px") else ""
        yield summarise(STAGE, name, 1e3 * seconds / len(valid), "ms CPU", target)


def _disk(data: BenchmarkData) -> Iterator[Row]:
    for stage in ("faces", "landmarks", "heatmaps"):
        shard = data.shard(stage)
        size = shard.stat().st_size / len(shards.read(shard, "id")["id"])
        yield Row("disk", f"{stage} shards", size, "bytes per image")
        yield Row("disk", f"{stage} shards of AffectNet at this rate", size * AFFECTNET / 1e9, "GB")
