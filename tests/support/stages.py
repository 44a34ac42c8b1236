"""Every command of the project on a small dataset, in the order of the workflow, each in a process of its own.

The processes are forked from one that has imported everything: they begin at once, and can be killed at any moment.
"""

import importlib
import multiprocessing
import os
import resource
import socket
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import yaml

from train.card.schema import Card

IDENTITIES, SIZE = 3, 96
FORKED = multiprocessing.get_context("forkserver")
MODULES = (
    "pipeline.synthetic",
    "pipeline.index",
    "pipeline.align",
    "pipeline.landmarks",
    "pipeline.heatmaps",
    "pipeline.status",
    "train",
    "train.engine.loop",
    "eval.predict",
    "eval.metrics.training_means",
    "eval.score",
    "eval.faithfulness",
    "eval.figures.maps",
    "eval.tables",
    "eval.figures",
)
FORKED.set_forkserver_preload(
    [*MODULES, "pipeline.detectors.dlib", "pipeline.extractors.dlib", "train.methods.cam", "timm"]
)


@dataclass(frozen=True)
class Stage:
    """A command, where it writes (relative to the folder of the dataset) and its arguments but `--out`."""

    module: str
    out: str
    arguments: tuple[str, ...] = ()
    extra: tuple[str, ...] = field(default=())  # further files that it writes

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]

    def files(self, folder: Path) -> list[Path]:
        """All files that it writes, without what is in a state."""
        return [folder / name for name in (self.out, *self.extra)]


RUN = tuple(f"run/{name}" for name in ("last.safetensors", "history.csv"))
STAGES = (
    Stage(
        "pipeline.synthetic",
        "generated",
        ("--identities-train", "3", "--identities-test", "2", "--size", "96"),
    ),
    Stage(
        "pipeline.index",
        "data/index.csv",
        ("--dataset", "faces", "--source", "synthetic", "--root", "generated", "--shards", "1"),
    ),
    Stage(
        "pipeline.align",
        "data/faces/0.h5",
        ("data/index.csv", "--root", "generated", "--shard", "0", "--detector", "dlib", "--size", "64"),
    ),
    Stage("pipeline.landmarks", "data/landmarks/0.h5", ("data/faces/0.h5", "--extractor", "dlib")),
    Stage("pipeline.heatmaps", "data/heatmaps/0.h5", ("data/landmarks/0.h5", "--geometry", "published")),
    Stage(
        "pipeline.status",
        "data/status",
        ("data", "--source", "synthetic"),
        ("data/status.csv", "data/status.md", "data/faces.csv"),
    ),
    Stage("train", "run", ("run.yaml", "--save-minutes", "0"), ("run/checkpoint.safetensors", *RUN)),
    Stage("eval.predict", "run/predictions.h5", ("run/checkpoint.safetensors",)),
    Stage(
        "eval.metrics.training_means", "data/means.npz", ("data", "--codebook", "paper_code", "--geometry", "published")
    ),
    Stage("eval.score", "run/scores.json", ("run/predictions.h5", "--means", "data/means.npz")),
    Stage(
        "eval.figures.maps",
        "run/average_maps",
        ("run/predictions.h5",),
        ("run/average_maps.npz", "run/average_maps.png"),
    ),
    Stage(
        "eval.tables",
        "tables/classification",
        ("classification", "--scores", "run/scores.json"),
        tuple(f"tables/classification.{kind}" for kind in ("csv", "md", "tex")),
    ),
    Stage(
        "eval.figures",
        "figures/matrices",
        ("matrices", "--scores", "run/scores.json"),
        tuple(f"figures/matrices.{kind}" for kind in ("png", "csv")),  # a .pdf says when it was made
    ),
    Stage("eval.faithfulness", "run/faithfulness.json", ("run/checkpoint.safetensors", "--images", "4", "--seed", "0")),
)


def card(folder: Path) -> None:
    """Write the card that the training reads."""
    values = {
        "dataset": "faces",
        "method": "cam",
        "variant": "au",
        "seed": 0,
        "protocol": "heldout",
        "data": {"folder": "data", "validation_fraction": 0.3, "domain": "drawings"},
        "heatmap": {},
        "model": {"backbone": "resnet18_quarter", "init": "none", "image_size": 32},
        "training": {"epochs": 3, "batch_size": 4, "learning_rate": 0.01},
        "guidance": {"weight": 5.0},
    }
    Card.model_validate(values)
    (folder / "run.yaml").write_text(yaml.safe_dump(values))


def start(stage: Stage, folder: Path, *, out: str | None = None, limit: int | None = None) -> multiprocessing.Process:
    """Begin a stage in `folder`; its output goes to `stdout.txt` and `stderr.txt` there."""
    process = FORKED.Process(
        target=_work, args=(stage.module, [*stage.arguments, "--out", out or stage.out], folder, limit)
    )
    process.start()
    return process


def run(stage: Stage, folder: Path, **options) -> tuple[int, str]:
    """Run a stage; return its exit code and what it wrote to stderr."""
    process = start(stage, folder, **options)
    process.join()
    return process.exitcode, (folder / "stderr.txt").read_text()


def _no_network(own: socket.socket, address: object) -> None:
    raise AssertionError(f"a stage calls {address}")


def _loaded(module: str) -> ModuleType:
    """Import what `python -m` of a module or a package runs."""
    imported = importlib.import_module(module)
    return importlib.import_module(f"{module}.__main__") if hasattr(imported, "__path__") else imported


def _work(module: str, arguments: list[str], folder: Path, limit: int | None) -> None:
    os.chdir(folder)
    sys.argv = [module, *arguments]
    errors = Path("stderr.txt").open("w")  # noqa: SIM115  (until the process ends)
    os.dup2(errors.fileno(), 2)
    sys.stderr, sys.stdout = errors, Path("stdout.txt").open("w")  # noqa: SIM115
    import torch

    from pipeline.errors import run as command

    torch.set_num_threads(1)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    socket.socket.connect = _no_network
    code = 0
    try:
        command(_loaded(module).main)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=errors)
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc(file=errors)
        code = 2
    errors.flush()
    sys.stdout.flush()
    os._exit(code)
