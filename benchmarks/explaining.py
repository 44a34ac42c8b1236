"""Explaining images: one image after loading the network, and a folder against one call per image."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import BenchmarkData
from benchmarks.timing import Row, summarise, time_tasks
from eval.explain.explainer import Explainer
from eval.explain.outputs import write_files
from pipeline.storage import images
from train.checkpoints import checkpoint
from train.methods.base import build_method

STAGE = "explaining"
IMAGES = 24
CPU = torch.device("cpu")


def measure(data: BenchmarkData, repeats: int = 5) -> Iterator[Row]:
    """Time ResNet-50 at 224 px with panel, JSON and arrays; calls in wall time, as their start is mostly waiting."""
    path, out, card = data.folder / "resnet50.safetensors", data.folder / "explained", data.card()
    torch.manual_seed(0)
    alignment = {"size": 256, "detector": "dlib", "mode": "corrected"}
    checkpoint.write(path, build_method(card).state_dict(), card, {"temperature": 1.0}, alignment=alignment)
    paths = sorted((data.root / "images").glob("*.jpg"))[:IMAGES]
    explainer = Explainer(path)

    def explain_one() -> None:
        write_files(out / "one", "one", explainer.explain(images.read(paths[0])))

    seconds = time_tasks({"one": explain_one}, repeats, CPU)["one"]
    yield summarise(STAGE, "one image after loading", seconds, "s CPU", "< 2")
    single_calls = np.array([_time_call(path, out, paths[:1]) for _ in range(3)])
    per_image = _time_call(path, out, paths) / len(paths)
    yield summarise(STAGE, "a call for one image", single_calls, "s")
    yield Row(STAGE, f"{len(paths)} images in one call, each", per_image, "s")
    single = float(np.median(single_calls))
    # Starting takes the same time for any number of images, here spread over 200.
    start = (single - per_image) / (1 - 1 / len(paths))
    ratio = single / (per_image - start / len(paths) + start / 200)
    yield Row(STAGE, "a folder of 200 against a call for each image", ratio, "times", target=">= 5")


def _time_call(checkpoint: Path, out: Path, paths: list[Path]) -> float:
    start = time.monotonic()
    call = [sys.executable, "-m", "eval.explain", *map(str, paths), "--checkpoint", str(checkpoint), "--out", str(out)]
    subprocess.run(call, check=True, capture_output=True)
    return time.monotonic() - start
