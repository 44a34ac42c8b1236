"""Preparation: images per second of one core for each stage, and what a second process adds."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from face_alignment.models import FAN
from face_alignment.utils import crop as crop_for_fan
from face_alignment.utils import get_preds_fromhm
from numpy.typing import NDArray

from benchmarks.data import TIGHT, BenchmarkData, align_images, cut_tightly, run_stages
from benchmarks.timing import Row, summarise, time_tasks
from pipeline import heatmaps, landmarks
from pipeline.extractors import face_alignment as fan
from pipeline.geometry import face_box, warp
from pipeline.storage import images, shards

STAGE = "preparation"
CPU = torch.device("cpu")
DETECTORS = ("blaze", "dlib", "dataset", "none")  # "dataset" has five points from the dataset's landmarks
SUMS = (("blaze", "mesh", ""), ("dlib", "dlib", ">= 110"), ("dataset", "mesh", ""), ("dataset", "dlib", ">= 350"))


def measure(data: BenchmarkData, repeats: int = 3) -> Iterator[Row]:
    """Time the stages on one core, by detector and extractor, then tight pictures, two processes and 2D-FAN."""
    yield from _stages(data, repeats)
    yield from _tight(cut_tightly(data), repeats)
    yield _two_processes(data, repeats)
    yield from _batched_fan(data)


def _stages(data: BenchmarkData, repeats: int) -> Iterator[Row]:
    """Time each stage on pictures of 350 px, and add them up."""
    out, aligned = data.folder / "again", data.shard("faces")
    count = len(shards.read(aligned, "id")["id"])
    tasks: dict[str, Callable[[], object]] = {
        f"align, {name}": partial(align_images, data, out / "faces.h5", name) for name in DETECTORS
    }
    tasks |= {
        f"landmarks, {name}": partial(landmarks.extract_landmarks, aligned, out / "points.h5", name)
        for name in ("mesh", "dlib")
    }
    tasks["AU shapes"] = partial(heatmaps.build_heatmaps, data.shard("landmarks"), out / "shapes.h5", "published")
    seconds = time_tasks(tasks, repeats, CPU)
    for name, values in seconds.items():
        yield summarise(STAGE, name, 1e3 * values / count, "ms CPU per image")
    for detector, extractor, target in SUMS:
        total = seconds[f"align, {detector}"] + seconds[f"landmarks, {extractor}"] + seconds["AU shapes"]
        yield summarise(STAGE, f"all stages, {detector} + {extractor}", count / total, "images/s per core", target)


def _tight(tight: BenchmarkData, repeats: int) -> Iterator[Row]:
    """Time all stages on pictures that a face fills, and count the faces that get landmarks."""
    found: dict[str, Counter[str]] = {}

    def prepare(detector: str, extractor: str) -> None:
        found[f"{detector} + {extractor}"] = run_stages(tight, tight.folder / "again", detector, extractor)

    tasks = {" + ".join(pair): partial(prepare, *pair) for pair in (("blaze", "mesh"), ("dlib", "dlib"))}
    seconds = time_tasks(tasks, repeats, CPU)
    for name, status in found.items():
        pictures = f"pictures of {TIGHT} px, all stages, {name}"
        yield summarise(STAGE, pictures, 1e3 * seconds[name] / status.total(), "ms CPU per image")
        share = 100 * (status["ok"] + status["redetected"]) / status.total()
        yield Row(STAGE, f"{pictures}, with landmarks", share, "%")
    ratio = seconds["dlib + dlib"] / seconds["blaze + mesh"]
    yield summarise(STAGE, f"pictures of {TIGHT} px, blaze + mesh", ratio, "times as fast as dlib + dlib", ">= 3")


def _two_processes(data: BenchmarkData, repeats: int) -> Row:
    """Prepare the same images in one process and in two at once, in wall time."""
    outs = [data.folder / f"process{number}" for number in range(2)]
    ratios = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def seconds_of(processes: int) -> float:
            start = time.perf_counter()
            list(pool.map(run_stages, [data] * processes, outs, ["blaze"] * 2, ["mesh"] * 2))
            return time.perf_counter() - start

        seconds_of(2)  # warm-up: imports and weights
        for _ in range(repeats):
            ratios.append(2 * seconds_of(1) / seconds_of(2))
    return summarise(STAGE, "two processes against one", np.array(ratios), "times the throughput (wall)", ">= 1.8")


def _batched_fan(data: BenchmarkData, count: int = 4, repeats: int = 2) -> Iterator[Row]:
    """Compare batched 2D-FAN with the package's loop over faces; random weights take the same time as trained ones."""
    faces = [images.decode(file) for file in shards.Shard(data.shard("faces")).stored_files()[:count]]
    box = face_box(faces[0].shape[0])
    inputs = [warp(face, fan.window(box), fan.INPUT) for face in faces]
    torch.manual_seed(0)
    theirs, ours = FAN(4).eval(), FAN(4).eval().to(memory_format=torch.channels_last)
    ours.load_state_dict(theirs.state_dict())

    def batched(size: int) -> NDArray[Any]:
        parts = [fan._maps(ours, inputs[start : start + size], CPU) for start in range(0, len(inputs), size)]
        return fan.read_out(np.concatenate(parts))[0]

    tasks = {"theirs": lambda: _package_loop(theirs, faces, box), "ours": lambda: batched(fan.BATCH[0])}
    seconds = time_tasks(tasks, repeats, CPU)
    ratio = seconds["theirs"] / seconds["ours"]
    yield summarise(STAGE, "2D-FAN, the package's loop without flip", seconds["theirs"] / count, "s CPU per face")
    yield summarise(STAGE, "2D-FAN, ours", seconds["ours"] / count, "s CPU per face")
    yield summarise(STAGE, "2D-FAN, the package's loop against ours", ratio, "times", ">= 1.5")
    difference = np.abs(batched(fan.BATCH[0]) - batched(1)).max() * fan.INPUT / fan.GRID
    yield Row(STAGE, "2D-FAN, batched against one by one", float(difference), "px at most", target="<= 0.05")


def _package_loop(network: torch.nn.Module, faces: Sequence[NDArray[np.uint8]], box: NDArray[Any]) -> None:
    """Place landmarks as the package face-alignment does, one face after the other."""
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2 - (0, fan.ABOVE * (box[3] - box[1]))
    scale = (box[2] - box[0] + box[3] - box[1]) / 195
    for face in faces:
        crop = crop_for_fan(face, torch.from_numpy(centre), scale).transpose(2, 0, 1)
        with torch.inference_mode():
            maps = network(torch.from_numpy(np.ascontiguousarray(crop))[None].float() / 255)[-1]
        get_preds_fromhm(maps.numpy(), centre, scale)
