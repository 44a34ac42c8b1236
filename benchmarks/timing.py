"""Works timed in turn, so that whatever else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Row:
    """One number: of which stage, of what, the median over repeats with its quartiles, and the target, if any."""

    stage: str
    name: str
    value: float
    unit: str
    low: float = float("nan")
    high: float = float("nan")
    repeats: int = 1
    target: str = ""

    def record(self) -> dict[str, Any]:
        """Return it as a line of a table."""
        return asdict(self)


def interleaved(works: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, np.ndarray]:
    """Run all works in turn, after one turn that does not count; return the seconds of each (repeats,).

    On a CPU they are processor time of this process, all its threads together, which other processes on the machine
    disturb little; on a GPU wall time until the device has finished.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            _finish(device)
            started = clock()
            work()
            _finish(device)
            if turn:
                spent[name].append(clock() - started)
    return {name: np.array(seconds) for name, seconds in spent.items()}


def row(stage: str, name: str, values: np.ndarray, unit: str, target: str = "") -> Row:
    """Gather repeats of one number."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Row(stage, name, float(middle), unit, float(low), float(high), len(values), target)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
