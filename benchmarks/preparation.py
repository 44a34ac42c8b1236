"""Preparation: images per second of one core for each stage, and what a second process adds."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from face_alignment.models import FAN
from face_alignment.utils import crop as crop_for_fan
from face_alignment.utils import get_preds_fromhm
from numpy.typing import NDArray

from benchmarks.data import BenchmarkData, align_images
from benchmarks.timing import Row, summarise, time_tasks
from pipeline import heatmaps, landmarks
from pipeline.extractors import face_alignment as fan
from pipeline.geometry import face_box, warp
from pipeline.storage import images, shards

STAGE = "preparation"
CPU = torch.device("cpu")


def measure(data: BenchmarkData, repeats: int = 3) -> Iterator[Row]:
    """Time the stages on one core, then alignment and landmarks in one and in two processes, then 2D-FAN."""
    out = data.folder / "again"
    count = len(shards.read(data.shard("faces"), "id")["id"])
    tasks = {
        "align, detector dlib": lambda: align_images(data, out / "faces.h5", "dlib"),
        "align, five points given": lambda: align_images(data, out / "faces.h5", "dataset"),
        "landmarks, dlib": lambda: landmarks.extract_landmarks(data.shard("faces"), out / "points.h5", "dlib"),
        "AU shapes": lambda: heatmaps.build_heatmaps(data.shard("landmarks"), out / "shapes.h5", "published"),
    }
    seconds = time_tasks(tasks, repeats, CPU)
    for name, values in seconds.items():
        yield summarise(STAGE, name, 1e3 * values / count, "ms CPU per image")
    rest = seconds["landmarks, dlib"] + seconds["AU shapes"]
    with_detection = count / (seconds["align, detector dlib"] + rest)
    without_detection = count / (seconds["align, five points given"] + rest)
    yield summarise(STAGE, "all stages, with detection", with_detection, "images/s per core", ">= 110")
    yield summarise(STAGE, "all stages, five points given", without_detection, "images/s per core", ">= 350")
    yield _two_processes(data, repeats)
    yield from _batched_fan(data)


def _align_and_extract(data: BenchmarkData, number: int) -> None:
    out = data.folder / f"process{number}"
    align_images(data, out / "faces.h5", "dlib")
    landmarks.extract_landmarks(out / "faces.h5", out / "points.h5", "dlib")


def _two_processes(data: BenchmarkData, repeats: int) -> Row:
    """Prepare the same images in one process and in two at once, in wall time."""
    ratios = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_align_and_extract, [data, data], [0, 1]))  # warm-up: imports and weights
        for _ in range(repeats):
            seconds = []
            for processes in (1, 2):
                start = time.perf_counter()
                list(pool.map(_align_and_extract, [data] * processes, range(processes)))
                seconds.append(time.perf_counter() - start)
            ratios.append(2 * seconds[0] / seconds[1])
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
