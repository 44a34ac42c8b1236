"""Measure the speed of every stage on faces that the project draws itself.

Prints a line for each number and writes all of them to a CSV file: median over repeats, quartiles, target. From that
file, `python -m workflow.config --cost FILE` estimates the cost of a config. On a CPU one core is measured, in
processor time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from math import nan
from pathlib import Path

import cv2
import pandas as pd
import torch

from benchmarks import data, evaluation, explaining, loading, preparation, training
from benchmarks.timing import Row
from pipeline.errors import UserError, run
from pipeline.storage.files import write_text
from train.hardware import machine, precision

PEOPLE = 32
STAGES = ("preparation", "loading", "training", "evaluation", "explaining", "device")
REFERENCE = "resnet50 at 224 px"  # the training whose rate is compared with the device's peak
EXAMPLE = "example:\n  python -m benchmarks --out results/benchmarks.csv --only loading training"


def main() -> None:
    """Read the command line and measure."""
    arguments = _parse()
    name = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device: torch finds no GPU on this machine; use cpu")
    measure(torch.device(name), arguments.only, arguments.out)


def measure(on: torch.device, stages: Iterable[str], out: Path) -> None:
    """Measure some stages on a device, print each number and write the table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows: list[Row] = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        faces = data.prepare(Path(folder), PEOPLE)
        benchmarks: dict[str, Callable[[], Iterable[Row]]] = {
            "preparation": lambda: preparation.measure(faces),
            "loading": lambda: loading.measure(faces),
            "training": lambda: training.measure(faces, on),
            "evaluation": lambda: evaluation.measure(faces),
            "explaining": lambda: explaining.measure(faces),
            "device": lambda: training.measure_peaks(on, _training_rate(rows)),
        }
        for stage in stages:
            for row in benchmarks[stage]():
                rows.append(row)
                print(_line(row), flush=True)
    conditions = _conditions(on)
    write_text(out, pd.DataFrame([asdict(row) | conditions for row in rows]).to_csv(index=False))
    print(f"{out} ({time.monotonic() - start:.0f} s)")


def _conditions(on: torch.device) -> dict[str, str]:
    hardware = machine()
    return {
        "device": str(on),
        "machine": hardware.get("GPU") or hardware.get("processor", ""),
        "precision": str(precision("bf16", on)).removeprefix("torch."),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _training_rate(rows: Iterable[Row]) -> float:
    """Return the highest measured rate of the reference training in images per second, NaN without one."""
    return max((row.value for row in rows if row.name.startswith(REFERENCE) and row.unit == "images/s"), default=nan)


def _line(row: Row) -> str:
    spread = "" if row.repeats == 1 else f" [{row.low:.3g}, {row.high:.3g}]"
    target = f" ({row.target})" if row.target else ""
    return f"{row.stage:12} {row.name:70} {row.value:10.3g}{spread} {row.unit}{target}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="table to write")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=STAGES,
        default=STAGES,
        metavar="STAGE",
        help=f"stages to measure: {', '.join(STAGES)} (default: all)",
    )
    parser.add_argument("--device", help="cpu or cuda (default: cuda where torch finds a GPU, else cpu)")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
