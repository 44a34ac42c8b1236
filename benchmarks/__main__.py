"""Measure everything and print it; `make bench`.

    python -m benchmarks --out results/benchmarks.csv [--only loading training] [--device cuda]

On a CPU one core is measured, in processor time. The CSV has a line per number: median over repeats, quartiles, target.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import pandas as pd
import torch

from benchmarks import device, evaluation, explaining, faces, loading, preparation, training
from benchmarks.timing import Row
from pipeline.errors import UserError, run
from pipeline.storage.files import write_text
from train.hardware import machine, precision

PEOPLE = 32
STAGES = ("preparation", "loading", "training", "evaluation", "explaining", "device")
TRAINED = "resnet50 at 224 px"


def main() -> None:
    """Read the command line, measure, print a line per number as it comes, write all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the speed of every stage.")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="stages to measure")
    parser.add_argument("--device", help="cpu or cuda; a GPU where there is one")
    arguments = parser.parse_args()
    name = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device: there is no GPU that torch can use; take cpu")
    measure(torch.device(name), arguments.only, arguments.out)


def measure(on: torch.device, stages: Iterable[str], out: Path) -> None:
    """Measure some stages on a device and write the table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found: list[Row] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        made = faces.prepare(Path(folder), PEOPLE)
        works: dict[str, Callable[[], Iterable[Row]]] = {
            "preparation": lambda: preparation.measure(made),
            "loading": lambda: loading.measure(made),
            "training": lambda: training.measure(made, on),
            "evaluation": lambda: evaluation.measure(made),
            "explaining": lambda: explaining.measure(made),
            "device": lambda: device.measure(on, _trained(found)),
        }
        for stage in stages:
            for one in works[stage]():
                found.append(one)
                print(_line(one), flush=True)
    here = machine()
    about = {
        "device": str(on),
        "machine": here.get("GPU") or here.get("processor", ""),
        "precision": str(precision("bf16", on)).removeprefix("torch."),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    write_text(out, pd.DataFrame([{**one.record(), **about} for one in found]).to_csv(index=False))
    print(f"{out} ({time.monotonic() - started:.0f} s)")


def _trained(found: Iterable[Row]) -> float:
    rates = [one.value for one in found if one.name.startswith(TRAINED) and one.unit == "images/s"]
    return max(rates, default=float("nan"))


def _line(one: Row) -> str:
    spread = "" if one.repeats == 1 else f" [{one.low:.3g}, {one.high:.3g}]"
    return f"{one.stage:12} {one.name:70} {one.value:10.3g}{spread} {one.unit}" + (
        f" ({one.target})" * bool(one.target)
    )


if __name__ == "__main__":
    run(main)
