"""Checkpoint to scores: which share of the time is the network's, and whether memory grows with the faces."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.faces import Prepared
from benchmarks.loading import card
from benchmarks.timing import Row, interleaved, row
from eval import predict, score
from eval.records.predictions import read
from train.card.schema import Heatmap
from train.checkpoints import checkpoint
from train.data.faces import FaceStore
from train.data.prepared import Prepared as PreparedData
from train.data.transforms import standardise, to_unit_range
from train.methods.base import Method, build_method

STAGE = "evaluation"
FACES = 8
CPU = torch.device("cpu")


def measure(made: Prepared, repeats: int = 3) -> Iterator[Row]:
    """Time forward passes of ResNet-50 alone, the whole of prediction, and scoring, per face on one core."""
    prepared = PreparedData(made.folder, Heatmap())
    given = card(made.folder)
    torch.manual_seed(0)
    method = build_method(given).eval().to(memory_format=torch.channels_last)
    rows = prepared.rows("test")
    some = rows[:FACES]
    shown = next(iter(FaceStore(prepared, some, given.model.image_size, CPU).batches([some])))
    images = standardise(to_unit_range(shown)).contiguous(memory_format=torch.channels_last)
    classes = torch.from_numpy(prepared.expressions[some])
    out = made.folder / "predictions.h5"
    predict._write(out, method, given, batch_size=FACES, of=Path("untrained"), checkpoint="", commit="")
    predictions = read(out)
    works = {
        "network": lambda: _forward(method, images, classes),
        "prediction": lambda: list(predict._forward(method, prepared, some, card=given, batch_size=FACES, device=CPU)),
    }
    spent = {name: seconds / len(some) for name, seconds in interleaved(works, repeats, CPU).items()}
    spent["scores"] = interleaved({"scores": lambda: score.score(predictions)}, repeats, CPU)["scores"] / len(rows)
    for name, seconds in spent.items():
        yield row(STAGE, f"ResNet-50 large maps, {name}", 1e3 * seconds, "ms CPU per face")
    share = 100 * spent["network"] / (np.maximum(spent["prediction"], spent["network"]) + spent["scores"])
    yield row(STAGE, "share of the network in prediction and scores", share, "%", ">= 90")
    yield from _memory(made)


def _forward(method: Method, images: torch.Tensor, classes: torch.Tensor) -> None:
    with torch.no_grad():
        method.cam(method(images), classes)


def _memory(made: Prepared) -> Iterator[Row]:
    """Read the peak memory of processes that predict and score once and four times as many faces."""
    peaks = []
    for times in (1, 4):
        code = f"from benchmarks.evaluation import peak; print(peak({str(made.folder)!r}, {times}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
        yield Row(STAGE, f"peak memory, {times} x the test faces", peaks[-1], "MB")
    yield Row(STAGE, "peak memory, four times the faces against once", peaks[1] / peaks[0], "times")


def peak(folder: str, times: int) -> float:
    """Predict and score the test faces several times over with a small network; return the peak memory in MB."""
    given = card(Path(folder))
    model = given.model.model_copy(update={"backbone": "resnet18_quarter", "image_size": 64})
    given = given.model_copy(update={"model": model})
    prepared = PreparedData(given.data.folder, Heatmap())
    rows = np.tile(prepared.rows("test"), times)
    blocks = predict._forward(build_method(given), prepared, rows, card=given, batch_size=64, device=CPU)
    out = Path(folder) / "many.h5"
    columns = {
        "id": np.array([f"{place}" for place in range(len(rows))], object),
        "expression": prepared.expressions[rows].astype(np.int8),
        "valid": np.zeros(len(rows), bool),
    }
    from pipeline.storage import shards  # noqa: PLC0415

    shards.write(out, columns, blocks=blocks, card=given.model_dump_json(), checkpoint="", commit=checkpoint.commit())
    read(out)
    # not ru_maxrss, which a process inherits from the one that started it
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
