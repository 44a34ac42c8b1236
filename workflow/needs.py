"""What a user must put in place before a workflow runs: datasets, and weights that no rule fetches. No torch here."""

import os.path
import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from pipeline.errors import UserError
from pipeline.index import missing_root_message
from pipeline.plugins import names
from train.card.checks import given_weights, read_card
from train.weights.fetch import missing_file_message
from workflow.grid import card, grid
from workflow.published import PUBLISHED_SUFFIX
from workflow.run_names import VARIANT, Run
from workflow.schema import Config, Protocol

CHECKPOINTS = ("checkpoint.safetensors", "last.safetensors")
FILES = ("weights", "file")  # options of detectors and extractors that name files, several with commas between them


def missing(config: Config) -> list[str]:
    """Describe all that the experiments of a config need and that is not there."""
    runs = grid(config)
    datasets = dict.fromkeys(run.dataset for run in runs)
    found = [
        line for name in datasets for line in (*missing_dataset(config, name), *missing_landmark_files(config, name))
    ]
    return list(dict.fromkeys([*found, *(line for run in runs for line in missing_weights(config, run))]))


def missing_dataset(config: Config, name: str) -> list[str]:
    """Say where a dataset comes from if it is not there, and which file its detector lacks; nothing once it is cut."""
    dataset = config.datasets[name]
    if dataset.root is None or is_prepared(config, name, "faces"):
        return []
    if not dataset.root.is_dir():
        return [missing_root_message(name.removesuffix(PUBLISHED_SUFFIX), dataset.source, dataset.root)]
    return _missing_options(f"datasets.{name}.detector_options", dataset.detector_options)


def missing_landmark_files(config: Config, name: str) -> list[str]:
    """Name the files that the extractor of a dataset lacks; none once its landmarks are placed."""
    if is_prepared(config, name, "landmarks"):
        return []
    return _missing_options(f"datasets.{name}.extractor_options", config.datasets[name].extractor_options)


def missing_weights(config: Config, run: Run) -> list[str]:
    """Say of each file that a run starts from, and that neither is there nor is made by another run, where to get it.

    None of a run that has been trained under this card: it needs its start no more.
    """
    settings = card(config, run)
    absent = {key: path for key, path in given_weights(settings).items() if not path.is_file()}
    if not absent or _is_trained(config, run):
        return []
    return [
        missing_file_message(path, f"{run.method}: {key}") for key, path in absent.items() if not _is_made(config, path)
    ]


def is_prepared(config: Config, dataset: str, stage: str) -> bool:
    """Tell whether the index and all shards of a stage of a dataset are there."""
    folder, count = config.results / "data" / dataset, config.datasets[dataset].shards
    files = [folder / "index.csv", *(folder / stage / f"{shard}.h5" for shard in range(count))]
    return all(map(Path.exists, files))


def _is_made(config: Config, path: Path) -> bool:
    """Tell whether a path is a checkpoint that the rule of trainings can make, of a dataset of this config."""
    runs = re.escape(os.path.normpath(config.results / "runs"))
    protocols, datasets, methods = map("|".join, (get_args(Protocol), config.datasets, names("train.methods")))
    pattern = f"{runs}/({protocols})/({datasets})/({methods})/({VARIANT})/seed-?[0-9]+/({'|'.join(CHECKPOINTS)})"
    return re.fullmatch(pattern, os.path.normpath(path)) is not None


def _is_trained(config: Config, run: Run) -> bool:
    folder = config.results / "runs" / run.folder
    try:
        return (folder / CHECKPOINTS[0]).exists() and read_card(folder / "run.yaml") == card(config, run)
    except UserError:  # the card of an earlier version, or none
        return False


def _missing_options(key: str, options: Mapping[str, object]) -> list[str]:
    named = [(f"{key}.{name}", Path(path)) for name in FILES for path in str(options.get(name, "")).split(",") if path]
    return [f"{option}: {path} does not exist" for option, path in named if not path.exists()]
