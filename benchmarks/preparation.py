"""Files to shards: images per second of one core, stage by stage, and what a second process adds."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from face_alignment.models import FAN
from face_alignment.utils import crop as their_crop
from face_alignment.utils import get_preds_fromhm

from benchmarks.faces import Prepared
from benchmarks.timing import Row, interleaved, row
from pipeline import align, heatmaps, landmarks
from pipeline.extractors import face_alignment as fan
from pipeline.geometry import face_box, warp
from pipeline.storage import images, shards

STAGE = "preparation"
CPU = torch.device("cpu")


def measure(made: Prepared, repeats: int = 3) -> Iterator[Row]:
    """Time the stages on one core, then alignment and landmarks in one and in two processes, then 2D-FAN."""
    out = made.folder / "again"
    count = len(shards.read(made.stage("faces"), "id")["id"])
    works = {
        "align, detector dlib": lambda: _align(made, out, "dlib"),
        "align, five points given": lambda: _align(made, out, "dataset"),
        "landmarks, dlib": lambda: landmarks.extract_landmarks(made.stage("faces"), out / "points.h5", "dlib"),
        "AU shapes": lambda: heatmaps.build_heatmaps(made.stage("landmarks"), out / "shapes.h5", "published"),
    }
    spent = interleaved(works, repeats, CPU)
    for name, seconds in spent.items():
        yield row(STAGE, name, 1e3 * seconds / count, "ms CPU per image")
    rest = spent["landmarks, dlib"] + spent["AU shapes"]
    with_detection = count / (spent["align, detector dlib"] + rest)
    without = count / (spent["align, five points given"] + rest)
    yield row(STAGE, "all stages, with detection", with_detection, "images/s per core", ">= 110")
    yield row(STAGE, "all stages, five points given", without, "images/s per core", ">= 350")
    yield _two_processes(made, repeats)
    yield from _batched_fan(made)


def _align(made: Prepared, out: Path, detector: str) -> None:
    align.align_shard(
        made.index, made.root, 0, out / "faces.h5", detector=detector, size=256, quality=95, mode="corrected"
    )


def _whole(made: Prepared, number: int) -> None:
    out = made.folder / f"process{number}"
    _align(made, out, "dlib")
    landmarks.extract_landmarks(out / "faces.h5", out / "points.h5", "dlib")


def _two_processes(made: Prepared, repeats: int) -> Row:
    """Prepare the same images in one process, and in two at once: wall time, so a busy machine shows."""
    ratios = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_whole, [made, made], [0, 1]))  # imports and weights
        for _ in range(repeats):
            seconds = []
            for processes in (1, 2):
                started = time.perf_counter()
                list(pool.map(_whole, [made] * processes, range(processes)))
                seconds.append(time.perf_counter() - started)
            ratios.append(2 * seconds[0] / seconds[1])
    return row(STAGE, "two processes against one", np.array(ratios), "times the throughput (wall)", ">= 1.8")


def _batched_fan(made: Prepared, faces: int = 4, repeats: int = 2) -> Iterator[Row]:
    """Compare 2D-FAN with the package's way, one face after the other; with random weights, which cost the same."""
    stored = shards.read(made.stage("faces"), "jpeg", "offset")
    pairs = zip(stored["offset"][:faces], stored["offset"][1:], strict=False)
    shown = [images.decode(stored["jpeg"][first:last]) for first, last in pairs]
    torch.manual_seed(0)
    network = FAN(4).eval()
    ours = FAN(4).eval().to(memory_format=torch.channels_last)
    ours.load_state_dict(network.state_dict())
    box = face_box(shown[0].shape[0])
    inputs = [warp(face, fan.window(box), fan.INPUT) for face in shown]
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2 - (0, fan.ABOVE * (box[3] - box[1]))
    scale = (box[2] - box[0] + box[3] - box[1]) / 195

    def theirs() -> None:
        for face in shown:
            cut = their_crop(face, torch.from_numpy(centre), scale).transpose(2, 0, 1)
            with torch.inference_mode():
                found = network(torch.from_numpy(np.ascontiguousarray(cut))[None].float() / 255)[-1]
            get_preds_fromhm(found.numpy(), centre, scale)

    def batched(faces: int = fan.BATCH[0]) -> np.ndarray:
        parts = [fan._maps(ours, inputs[start : start + faces], CPU) for start in range(0, len(inputs), faces)]
        return fan.read_out(np.concatenate(parts))[0]

    spent = interleaved({"theirs": theirs, "ours": batched}, repeats, CPU)
    yield row(STAGE, "2D-FAN, the package's loop without flip", spent["theirs"] / faces, "s CPU per face")
    yield row(STAGE, "2D-FAN, ours", spent["ours"] / faces, "s CPU per face")
    yield row(STAGE, "2D-FAN, the package's loop against ours", spent["theirs"] / spent["ours"], "times", ">= 1.5")
    apart = np.abs(batched() - batched(1)).max() * fan.INPUT / fan.GRID
    yield Row(STAGE, "2D-FAN, batched against one by one", float(apart), "px at most", target="<= 0.05")
