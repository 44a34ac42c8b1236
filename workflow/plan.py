"""Paths, parameters and inputs of each job, from the checked config; the rules only ask."""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import END_WITH_PARENT, UserError
from pipeline.plugins import ROOT, names
from train.card.checks import given_weights, needed_weights
from train.card.schema import Card
from workflow.config import parse
from workflow.fingerprint import digest, fingerprint
from workflow.grid import card, describe, grid, reused_run
from workflow.needs import missing_dataset, missing_landmark_files, missing_weights
from workflow.published import PUBLISHED_CODEBOOK, PUBLISHED_GEOMETRY, PUBLISHED_SUFFIX, with_published_datasets
from workflow.run_names import RUN, run_of
from workflow.schema import Config, Dataset

STAGES = ("faces", "landmarks", "heatmaps")
_fingerprint = cache(fingerprint)  # hundreds of jobs run the same few commands


@dataclass(frozen=True)
class Plan:
    """The checked config and what follows from it; `wildcards` are Snakemake's.

    `requested` is the config as the user wrote it, `config` that with the datasets that `snakemake published` adds.
    """

    config: Config
    requested: Config

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Plan":
        """Check the values of a config file; exit with a one-line error if they are wrong.

        Also set the environment of the jobs: they find the project's modules wherever they start (`snakemake
        --directory`), and end when Snakemake is killed.
        """
        os.environ |= {"PYTHONPATH": str(ROOT), END_WITH_PARENT: "1"}
        try:
            requested = parse(values, "config")
            return cls(with_published_datasets(requested), requested)
        except UserError as error:
            sys.exit(f"error: {error}")

    @property
    def data(self) -> str:
        """Pattern of the folder of a prepared dataset."""
        return f"{self.config.results}/data/{{dataset}}"

    @property
    def run(self) -> str:
        """Pattern of the folder of a run."""
        return f"{self.config.results}/runs/{RUN}"

    @property
    def logs(self) -> str:
        """Folder of all logs; each rule has a folder in it."""
        return f"{self.config.results}/logs"

    @property
    def published(self) -> str:
        """Folder of the authors' checkpoints and their results."""
        return f"{self.config.results}/published"

    def config_json(self, wildcards: Any) -> str:
        """Write the config as JSON; a function, because Snakemake would take {variant} in a string for a wildcard."""
        return json.dumps(self.requested.model_dump(mode="json", exclude_unset=True))

    def grid_digest(self) -> str:
        """Digest what `workflow.config --grid` writes, which holds all defaults."""
        return hashlib.sha256(describe(self.requested).encode()).hexdigest()

    def methods(self) -> str:
        """Return a regular expression that matches all methods."""
        return "|".join(names("train.methods"))

    def dataset(self, wildcards: Any) -> Dataset:
        """Return the settings of a job's dataset."""
        return self.config.datasets[wildcards.dataset]

    def root(self, wildcards: Any) -> str:
        """Return the folder of a dataset's images."""
        generated = f"{self.config.results}/generated/{wildcards.dataset}"
        return str(self.dataset(wildcards).root or generated)

    def generated(self, wildcards: Any) -> list[str]:
        """List the folder of a generated dataset; exit with a one-line error if a real dataset does not exist."""
        settings = self.dataset(wildcards)
        if settings.generate:
            return [self.root(wildcards)]
        _refuse(missing_dataset(self.config, wildcards.dataset))
        return []

    def setting(self, name: str) -> Any:
        """Make the function that returns one setting of a job's dataset."""
        return lambda wildcards: getattr(self.dataset(wildcards), name)

    def generate_options(self, wildcards: Any) -> str:
        """Write the arguments for the generator of a synthetic dataset."""
        settings = self.dataset(wildcards).generate
        return _arguments(settings.model_dump()) if settings else ""

    def geometry(self, wildcards: Any) -> str:
        """Return the geometry of a job's dataset."""
        return PUBLISHED_GEOMETRY if _is_published(wildcards) else self.config.heatmap.geometry

    def drawing_options(self, wildcards: Any) -> str:
        """Write the arguments that say how the AU maps of a job's dataset are drawn."""
        return f"--codebook {self._codebook(wildcards)} --geometry {self.geometry(wildcards)}"

    def untrained_option(self, wildcards: Any, input: Any) -> str:
        """Write the argument that names the predictions of the same network before training."""
        return f"--untrained {shlex.quote(input.untrained)}"

    def extractor_options(self, wildcards: Any) -> str:
        """Write the arguments for the extractor."""
        settings = self.dataset(wildcards)
        options = dict(settings.extractor_options)
        if settings.extractor == "face_alignment":
            options.setdefault("weights", str(self.config.weights))
        return _plugin_options(options)

    def detector_options(self, wildcards: Any) -> str:
        """Write the arguments for the detector."""
        return _plugin_options(self.dataset(wildcards).detector_options)

    def extractor_gpus(self, wildcards: Any) -> int:
        """Return how many GPUs a landmark job claims: one if its extractor is a network for which a GPU is meant."""
        settings = self.dataset(wildcards)
        return int(settings.extractor == "face_alignment" and settings.extractor_options.get("device") != "cpu")

    def shards(self, dataset: str, *stages: str) -> list[str]:
        """List all shards of some stages of a dataset."""
        folder = self.data.format(dataset=dataset)
        count = self.config.datasets[dataset].shards
        return [f"{folder}/{stage}/{shard}.h5" for stage in stages for shard in range(count)]

    def prepared(self, wildcards: Any) -> list[str]:
        """List every shard that a run reads."""
        return self.shards(wildcards.dataset, *STAGES)

    def stage(self, stage: str) -> list[str]:
        """List all files of a stage for all datasets of the experiments."""
        used = list(dict.fromkeys(run.dataset for run in grid(self.config)))
        if stage in STAGES:
            return [path for dataset in used for path in self.shards(dataset, stage)]
        return [f"{self.data.format(dataset=dataset)}/{stage}" for dataset in used]

    def card(self, wildcards: Any) -> str:
        """Write the card of a run on one line; a run is trained again when this line changes."""
        return self._card(wildcards).line()

    def reused(self, wildcards: Any) -> list[str]:
        """List the files of the run whose training also serves this one; none if it is trained itself."""
        other = reused_run(self.config, run_of(wildcards))
        if other is None:
            return []
        folder = f"{self.config.results}/runs/{other.folder}"
        return [f"{folder}/{name}" for name in ("checkpoint.safetensors", "last.safetensors", "history.csv")]

    def reuse_option(self, wildcards: Any) -> str:
        """Write the argument that names the run whose training is reused, or nothing."""
        files = self.reused(wildcards)
        return f"--from {shlex.quote(str(Path(files[0]).parent))}" if files else ""

    def training_gpus(self, wildcards: Any) -> int:
        """Return how many GPUs the training of a run claims: none if it reuses another training."""
        return 0 if self.reused(wildcards) else self.config.gpus

    def weights(self, wildcards: Any) -> list[str]:
        """List the manifest of the fetched weights if a run starts from some of them."""
        return [self.manifest] if needed_weights(self._card(wildcards)) else []

    def initial_files(self, wildcards: Any) -> list[str]:
        """List the files that a run starts from: the user's, or another run's checkpoint, which is then made first.

        Exit with the places where they come from if the user's are not there.
        """
        _refuse(missing_weights(self.config, run_of(wildcards)))
        return list(map(str, given_weights(self._card(wildcards)).values()))

    def extractor_weights(self, wildcards: Any) -> list[str]:
        """List the manifest of the fetched weights if an extractor needs some; exit if the user's are missing."""
        _refuse(missing_landmark_files(self.config, wildcards.dataset))
        return [self.manifest] if _needs_fetched_weights(self.dataset(wildcards)) else []

    @property
    def manifest(self) -> str:
        """The list of the fetched weights with their checksums."""
        return f"{self.config.weights}/manifest.csv"

    def weights_options(self) -> str:
        """Write the arguments that name all pretrained weights that the config needs."""
        runs = grid(self.config)
        needed = {need for run in runs for need in needed_weights(card(self.config, run))}
        datasets = [self.config.datasets[name] for name in {run.dataset for run in runs}]
        needed |= {f"landmarks:{dataset.extractor}" for dataset in datasets if _needs_fetched_weights(dataset)}
        return " ".join(f"--need {need}" for need in sorted(needed))

    def code(self, module: str, *patterns: str) -> Callable[[Any], str]:
        """Make the function that digests the code of a job, see `workflow.fingerprint`.

        `module` is what the rule runs, `patterns` are the files that it chooses by name: {source}, {detector} and
        {extractor} of the job's dataset, its {method}, and its {codebook} and {geometry}.
        """
        return lambda wildcards: _fingerprint(
            module, *(pattern.format(**self._chosen(wildcards)) for pattern in patterns)
        )

    def codebook(self, wildcards: Any) -> str:
        """Digest the codebook that a guided run is trained with; nothing for a plain run."""
        return "" if wildcards.variant == "plain" else digest(f"au_guidance/codebooks/{self._codebook(wildcards)}.yaml")

    def _chosen(self, wildcards: Any) -> dict[str, str]:
        dataset = self.config.datasets.get(getattr(wildcards, "dataset", ""))
        plugins = {name: getattr(dataset, name, "") for name in ("source", "detector", "extractor")}
        heatmap = {"codebook": self._codebook(wildcards), "geometry": self.geometry(wildcards)}
        return plugins | heatmap | {"method": getattr(wildcards, "method", "")}

    def _codebook(self, wildcards: Any) -> str:
        return PUBLISHED_CODEBOOK if _is_published(wildcards) else self.config.heatmap.codebook

    def _card(self, wildcards: Any) -> Card:
        return card(self.config, run_of(wildcards))


def _refuse(lacking: list[str]) -> None:
    """Stop before any job if something is missing: Snakemake would name the file only, or find nothing to be done."""
    if lacking:
        sys.exit("\n".join(lacking))


def _is_published(wildcards: Any) -> bool:
    return getattr(wildcards, "dataset", "").endswith(PUBLISHED_SUFFIX)


def _needs_fetched_weights(dataset: Dataset) -> bool:
    """Whether the extractor takes its weights from the folder that `snakemake weights` fills, not from the user's."""
    return dataset.extractor == "face_alignment" and "weights" not in dataset.extractor_options


def _plugin_options(options: Mapping[str, Any]) -> str:
    return " ".join(f"--option {shlex.quote(f'{key}={value}')}" for key, value in options.items())


def _arguments(options: Mapping[str, Any]) -> str:
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())
