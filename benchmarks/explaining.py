"""Any picture to its explanation: one picture after loading, and a folder against a call for each picture."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.faces import Prepared
from benchmarks.loading import card
from benchmarks.timing import Row, interleaved, row
from eval.explain.explainer import Explainer
from eval.explain.outputs import write_files
from pipeline.storage import images
from train.checkpoints import checkpoint
from train.methods.base import build_method

STAGE = "explaining"
PICTURES = 24
CPU = torch.device("cpu")


def measure(made: Prepared, repeats: int = 5) -> Iterator[Row]:
    """Time ResNet-50 at 224 px with panel, JSON and arrays; the calls are in wall time, as starting one is waiting."""
    path, out = made.folder / "resnet50.safetensors", made.folder / "explained"
    given = card(made.folder)
    torch.manual_seed(0)
    alignment = {"size": 256, "detector": "dlib", "mode": "corrected"}
    checkpoint.write(path, build_method(given).state_dict(), given, {"temperature": 1.0}, alignment=alignment)
    pictures = sorted((made.root / "images").glob("*.jpg"))[:PICTURES]
    explainer = Explainer(path)

    def one() -> None:
        faces = explainer.explain(images.read(pictures[0]))
        write_files(out / "one", "one", faces, given.heatmap)

    yield row(STAGE, "one picture after loading", interleaved({"one": one}, repeats, CPU)["one"], "s CPU", "< 2")
    calls = np.array([_call(path, out, pictures[:1]) for _ in range(3)])
    folder = _call(path, out, pictures) / len(pictures)
    yield row(STAGE, "a call for one picture", calls, "s")
    yield Row(STAGE, f"{len(pictures)} pictures in one call, each", folder, "s")
    # Starting costs the same for any number, so that it is spread over 200 here.
    start = (np.median(calls) - folder) / (1 - 1 / len(pictures))
    each = folder - start / len(pictures) + start / 200
    yield Row(
        STAGE, "a folder of 200 against a call for each picture", float(np.median(calls)) / each, "times", target=">= 5"
    )


def _call(path: Path, out: Path, pictures: list[Path]) -> float:
    started = time.monotonic()
    call = [sys.executable, "-m", "eval.explain", *map(str, pictures), "--checkpoint", str(path), "--out", str(out)]
    subprocess.run(call, check=True, capture_output=True)
    return time.monotonic() - started
