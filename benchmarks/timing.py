"""Time several tasks in turn, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One number of the table: the median over `repeats`, its quartiles `low` and `high`, and the target, if any."""

    stage: str
    name: str
    value: float
    unit: str
    low: float = nan
    high: float = nan
    repeats: int = 1
    target: str = ""


def time_tasks(tasks: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, Seconds]:
    """Run all tasks in turn, after one warm-up turn; return the seconds of each (repeats,).

    On a CPU this is the processor time of this process over all its threads, which other processes hardly affect; on a
    GPU it is wall time until the device has finished.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            _wait_for(device)
            start = clock()
            task()
            _wait_for(device)
            if turn > 0:
                seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def summarise(stage: str, name: str, values: Seconds, unit: str, target: str = "") -> Row:
    """Summarise the repeats of one number (repeats,) by median and quartiles."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Row(stage, name, float(median), unit, float(low), float(high), len(values), target)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
