"""Loading: time per face of one core from shards to batches, next to a loader like the published one; bytes on disk."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from au_guidance.expressions import Expression
from au_guidance.heatmap import draw
from benchmarks.data import BATCH_SIZE, BenchmarkData
from benchmarks.published_loader import PublishedDataset, full_size_map
from benchmarks.timing import Row, summarise, time_tasks
from pipeline.geometry import rescale
from pipeline.storage import images, shards
from train.card.schema import Heatmap
from train.data.batches import TrainingBatches
from train.data.prepared import Prepared

STAGE = "loading"
AFFECTNET = 287_401  # training and test images of the seven classes
CPU = torch.device("cpu")

Rows = NDArray[np.intp]
LabelledShapes = tuple[NDArray[Any], Expression]


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
    published = _published_dataset(data, prepared, rows)

    def ours(weight: float = 4.0, **training: object) -> Callable[[], object]:
        batches = TrainingBatches(prepared, data.card(weight=weight, **training), rows, CPU)
        epochs = iter(range(10**6))
        return lambda: deque(batches.epoch(next(epochs)), maxlen=0)

    def theirs(*, maps: bool) -> Callable[[], object]:
        return lambda: deque(DataLoader(published(maps), batch_size=BATCH_SIZE), maxlen=0)

    return {
        "published loader, without maps": theirs(maps=False),
        "published loader, with maps": theirs(maps=True),
        "ours in memory, without maps": ours(weight=0.0),
        "ours in memory, with maps": ours(),
        "ours from the shards, without maps": ours(weight=0.0, faces="stream"),
        "ours from the shards, with maps": ours(faces="stream"),
        "ours in memory, with maps, published augmentation": ours(augmentation="published"),
    }


def _published_dataset(data: BenchmarkData, prepared: Prepared, rows: Rows) -> Callable[[bool], PublishedDataset]:
    folder = data.folder / "aligned"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{row}.jpg" for row in rows]
    for file, row in zip(files, rows, strict=True):
        file.write_bytes(images.encode(prepared.image(int(row))).tobytes())
    points = rescale(prepared.points[rows], 224, 224)
    return lambda maps: PublishedDataset(files, prepared.expressions[rows], points, maps=maps)


def _drawing(prepared: Prepared, rows: Rows, repeats: int) -> Iterator[Row]:
    """Time drawing the AU map of each face once."""
    valid = [row for row in rows if prepared.heatmap(row) is not None]
    faces = [(prepared.shapes[row], Expression(prepared.expressions[row])) for row in valid]
    points = prepared.points[valid]
    tasks = {
        "one map, published loader": lambda: [full_size_map(p, e) for p, (_, e) in zip(points, faces, strict=True)],
        "one map at 224 px": lambda: [draw(shapes, expression) for shapes, expression in faces],
        "one map at the layer's 28 px": lambda: [draw(shapes, expression, 28) for shapes, expression in _at_28(faces)],
    }
    for name, seconds in time_tasks(tasks, repeats, CPU).items():
        target = "<= 0.15" if name.endswith("28 px") else ""
        yield summarise(STAGE, name, 1e3 * seconds / len(faces), "ms CPU", target)


def _at_28(faces: Sequence[LabelledShapes]) -> list[LabelledShapes]:
    return [(np.concatenate([(s[:, :2] + 0.5) / 8 - 0.5, s[:, 2:4] / 8, s[:, 4:]], 1), e) for s, e in faces]


def _disk(data: BenchmarkData) -> Iterator[Row]:
    for stage in ("faces", "landmarks", "heatmaps"):
        shard = data.shard(stage)
        size = shard.stat().st_size / len(shards.read(shard, "id")["id"])
        yield Row("disk", f"{stage} shards", size, "bytes per image")
        yield Row("disk", f"{stage} shards of AffectNet at this rate", size * AFFECTNET / 1e9, "GB")
