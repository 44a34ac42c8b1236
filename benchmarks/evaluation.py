"""Prediction and scores: the network's share of the time, and whether memory grows with the number of faces."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import SMALL, BenchmarkData
from benchmarks.timing import Row, summarise, time_tasks
from eval import predict
from eval.metrics.per_face import measure_faces
from eval.records.predictions import read_predictions
from eval.score import scores_of
from pipeline.storage import shards
from train.card.schema import Heatmap
from train.checkpoints import checkpoint
from train.data.faces import FaceStore
from train.data.prepared import Prepared
from train.data.transforms import standardise, to_unit_range
from train.methods.base import Method, build_method

STAGE = "evaluation"
FACES = 8
CPU = torch.device("cpu")


def measure(data: BenchmarkData, repeats: int = 3) -> Iterator[Row]:
    """Time forward passes of ResNet-50 alone, the complete prediction, and the scores, per face on one core."""
    prepared, card = Prepared(data.folder, Heatmap()), data.card()
    torch.manual_seed(0)
    method = build_method(card).eval().to(memory_format=torch.channels_last)
    rows = prepared.rows("test")
    sample = rows[:FACES]
    faces = next(iter(FaceStore(prepared, sample, card.model.image_size, CPU).batches([sample])))
    images = standardise(to_unit_range(faces)).contiguous(memory_format=torch.channels_last)
    classes = torch.from_numpy(prepared.expressions[sample])
    out = data.folder / "predictions.h5"
    predict._write(out, method, card, batch_size=FACES, of=Path("untrained"), checkpoint="", commit="")
    predictions = read_predictions(out)
    tasks = {
        "network": lambda: _forward(method, images, classes),
        "prediction": lambda: list(predict._forward(method, prepared, sample, card=card, batch_size=FACES, device=CPU)),
    }
    per_face = {name: seconds / len(sample) for name, seconds in time_tasks(tasks, repeats, CPU).items()}
    per_face |= time_tasks({"scores": lambda: scores_of(predictions, measure_faces(predictions))}, repeats, CPU)
    per_face["scores"] /= len(rows)
    for name, seconds in per_face.items():
        yield summarise(STAGE, f"ResNet-50 large maps, {name}", 1e3 * seconds, "ms CPU per face")
    network, prediction, scores = per_face.values()
    share = 100 * network / (np.maximum(prediction, network) + scores)
    yield summarise(STAGE, "share of the network in prediction and scores", share, "%", ">= 90")
    yield from _memory(data)


def _forward(method: Method, images: torch.Tensor, classes: torch.Tensor) -> None:
    with torch.no_grad():
        method.cam(method(images), classes)


def _memory(data: BenchmarkData) -> Iterator[Row]:
    """Measure the peak memory of processes that predict and score the test faces, and four times as many."""
    peaks = []
    for times in (1, 4):
        code = f"from benchmarks.evaluation import peak_memory; print(peak_memory({str(data.folder)!r}, {times}))"
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(float(process.stdout.split()[-1]))
        yield Row(STAGE, f"peak memory, {times} x the test faces", peaks[-1], "MB")
    yield Row(STAGE, "peak memory, four times the faces against once", peaks[1] / peaks[0], "times")


def peak_memory(folder: str, times: int) -> float:
    """Predict and score the test faces `times` times with a small network; return this process's peak memory in MB."""
    card = BenchmarkData(Path(folder)).card(network=SMALL)
    prepared = Prepared(card.data.folder, Heatmap())
    rows = np.tile(prepared.rows("test"), times)
    blocks = predict._forward(build_method(card), prepared, rows, card=card, batch_size=64, device=CPU)
    out = Path(folder) / "many.h5"
    columns = {
        "id": np.arange(len(rows)).astype(str).astype(object),
        "expression": prepared.expressions[rows].astype(np.int8),
        "valid": np.zeros(len(rows), bool),
    }
    shards.write(out, columns, blocks=blocks, card=card.model_dump_json(), checkpoint="", commit=checkpoint.commit())
    read_predictions(out)
    # Not ru_maxrss: a process inherits that from its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.partition("VmHWM:")[2].split()[0]) / 1e3
