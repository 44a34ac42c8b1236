"""What the rules ask: paths, settings and inputs of each job, from the checked config."""

import ast
import hashlib
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.index import missing_root_message
from pipeline.plugins import ROOT, names
from train.config import Card, given_weights, needed_weights
from workflow.card import to_json
from workflow.config import parse
from workflow.grid import Run, card, grid, shared, tables
from workflow.published import TWIN, with_twins
from workflow.schema import Config, Dataset

STAGES = ("faces", "landmarks", "heatmaps")


@dataclass(frozen=True)
class Plan:
    """The checked config and the folders that follow from it; `wildcards` are Snakemake's."""

    config: Config

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Plan":
        """Check the values of a config file; end the program with one line if they are wrong.

        The commands of the jobs will find this project's modules wherever the jobs start (`snakemake --directory`).
        """
        os.environ["PYTHONPATH"] = str(ROOT)
        try:
            return cls(with_twins(parse(values, "config")))
        except UserError as error:
            sys.exit(f"error: {error}")

    @property
    def data(self) -> str:
        """Pattern of the folder of a prepared dataset."""
        return f"{self.config.results}/data/{{dataset}}"

    @property
    def run(self) -> str:
        """Pattern of the folder of a run."""
        return f"{self.config.results}/runs/{{protocol}}/{{dataset}}/{{method}}/{{variant}}/seed{{seed}}"

    @property
    def logs(self) -> str:
        """Folder of all logs; each rule has a folder of its own in it."""
        return f"{self.config.results}/logs"

    @property
    def published(self) -> str:
        """Folder of what the authors' checkpoints give."""
        return f"{self.config.results}/published"

    def methods(self) -> str:
        """Regular expression of all methods."""
        return "|".join(names("train.methods"))

    def dataset(self, wildcards: Any) -> Dataset:
        """Look up the settings of a job's dataset."""
        return self.config.datasets[wildcards.dataset]

    def root(self, wildcards: Any) -> str:
        """Where a dataset's images lie."""
        generated = f"{self.config.results}/generated/{wildcards.dataset}"
        return str(self.dataset(wildcards).root or generated)

    def generated(self, wildcards: Any) -> list[str]:
        """Say which folder must be made first; end the program with one message if a real dataset is not there."""
        settings = self.dataset(wildcards)
        if settings.generate:
            return [self.root(wildcards)]
        root = Path(self.root(wildcards))
        if not root.is_dir() and not self._prepared(wildcards.dataset):
            sys.exit(missing_root_message(wildcards.dataset.removesuffix(TWIN), settings.source, root))
        return []

    def setting(self, name: str) -> Any:
        """Make the function that looks up one setting of a job's dataset."""
        return lambda wildcards: getattr(self.dataset(wildcards), name)

    def generate_options(self, wildcards: Any) -> str:
        """Write the arguments of the generator of a synthetic dataset."""
        settings = self.dataset(wildcards).generate
        return _arguments(settings.model_dump()) if settings else ""

    def geometry(self, wildcards: Any) -> str:
        """Look up the geometry of a job's dataset."""
        own = getattr(wildcards, "dataset", "").endswith(TWIN)
        return "published" if own else self.config.heatmap.geometry

    def extractor_options(self, wildcards: Any) -> str:
        """Write the arguments that reach the extractor."""
        settings = self.dataset(wildcards)
        options = dict(settings.extractor_options)
        if settings.extractor == "face_alignment":
            options.setdefault("weights", str(self.config.weights))
        return " ".join(f"--option {shlex.quote(f'{key}={value}')}" for key, value in options.items())

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
        used = list(dict.fromkeys(one.dataset for one in grid(self.config)))
        if stage in STAGES:
            return [path for dataset in used for path in self.shards(dataset, stage)]
        return [f"{self.data.format(dataset=dataset)}/{stage}" for dataset in used]

    def card(self, wildcards: Any) -> str:
        """Write the card of a run as one line; a run is trained again when this line changes."""
        return to_json(self._card(wildcards))

    def shared(self, wildcards: Any) -> list[str]:
        """List what a run takes over from the run whose training serves it, or nothing."""
        other = shared(self.config, _run(wildcards))
        if other is None:
            return []
        folder = f"{self.config.results}/runs/{other.folder}"
        return [f"{folder}/{name}" for name in ("checkpoint.safetensors", "last.safetensors", "history.csv")]

    def sharing(self, wildcards: Any) -> str:
        """Write the argument that names the run to take over, or nothing."""
        found = self.shared(wildcards)
        return f"--from {shlex.quote(str(Path(found[0]).parent))}" if found else ""

    def training_gpus(self, wildcards: Any) -> int:
        """Say how many GPUs the training of a run claims: none if it is taken over."""
        return 0 if self.shared(wildcards) else 1

    def weights(self, wildcards: Any) -> list[str]:
        """List the pretrained weights that a run starts from: what `snakemake weights` brings, and the user's files."""
        made = self._card(wildcards)
        return [self.manifest] * bool(needed_weights(made)) + list(map(str, given_weights(made)))

    def extractor_weights(self, wildcards: Any) -> list[str]:
        """Say whether a dataset's extractor needs weights that `snakemake weights` brings."""
        return [self.manifest] if _fetched(self.dataset(wildcards)) else []

    @property
    def manifest(self) -> str:
        """List of the fetched weights with their checksums."""
        return f"{self.config.weights}/manifest.csv"

    def needs(self) -> str:
        """Write the arguments that name all pretrained weights of the config."""
        runs = grid(self.config)
        wanted = {need for one in runs for need in needed_weights(card(self.config, one))}
        used = {one.dataset for one in runs}
        settings = [self.config.datasets[name] for name in used]
        wanted |= {f"landmarks:{dataset.extractor}" for dataset in settings if _fetched(dataset)}
        return " ".join(f"--need {need}" for need in sorted(wanted))

    def runs(self, file: str, experiment: str | None = None) -> list[str]:
        """List one file of every run of an experiment, or of all."""
        found = grid(self.config, experiment)
        return [f"{self.config.results}/runs/{one.folder}/{file}" for one in found]

    def tables(self) -> dict[str, tuple[str, str]]:
        """Name all tables: the experiment and the kind of each."""
        return tables(self.config)

    def scores(self, wildcards: Any) -> list[str]:
        """List the scores that a table gathers."""
        return self.runs("scores.json", self.tables()[wildcards.table][0])

    def kind(self, wildcards: Any) -> str:
        """Look up which kind a table is."""
        return self.tables()[wildcards.table][1]

    def results(self, experiment: str) -> list[str]:
        """List all tables and pictures of an experiment."""
        folder = f"{self.config.results}/tables"
        made = [f"{folder}/{name}.csv" for name, (shown, _) in self.tables().items() if shown == experiment]
        guided = [one for one in grid(self.config, experiment) if one.variant != "plain"]
        twins = {replace(one, variant="plain") for one in guided} & set(grid(self.config, experiment))
        if not twins:
            return made
        paired = [one for one in guided if replace(one, variant="plain") in twins]
        pictures = [f"{self.config.results}/figures/{one.folder}.png" for one in paired]
        return [*made, f"{folder}/{experiment}-guidance.csv", *pictures]

    def everything(self, suffix: str = "") -> list[str]:
        """List the results of all experiments, or those whose name ends with `suffix`."""
        found = [path for experiment in self.config.experiments for path in self.results(experiment)]
        found += self.stage("status.csv")
        return [path for path in dict.fromkeys(found) if path.endswith(suffix)]

    def code(self, *patterns: str) -> Any:
        """Make the function that fingerprints the files a stage is made of, whatever their comments say."""
        return lambda wildcards: fingerprint([pattern.format(**self._plugins(wildcards)) for pattern in patterns])

    def codebook(self, wildcards: Any) -> str:
        """Fingerprint the codebook that a guided run is trained with."""
        guided = wildcards.variant != "plain"
        return fingerprint([f"pipeline/codebooks/{self.config.heatmap.codebook}.yaml"]) if guided else ""

    def _plugins(self, wildcards: Any) -> dict[str, str]:
        dataset = self.config.datasets.get(getattr(wildcards, "dataset", ""))
        chosen = {name: getattr(dataset, name) for name in ("detector", "extractor")} if dataset else {}
        if dataset:  # a source is a file or, if it is large, a folder
            folder = ROOT / "pipeline" / "sources" / dataset.source
            chosen["source"] = f"{dataset.source}/__init__" if folder.is_dir() else dataset.source
        chosen["method"] = getattr(wildcards, "method", "")
        return {**chosen, "geometry": self.geometry(wildcards), "codebook": self.config.heatmap.codebook}

    def _card(self, wildcards: Any) -> Card:
        return card(self.config, _run(wildcards))

    def _prepared(self, dataset: str) -> bool:
        folder = Path(self.data.format(dataset=dataset))
        return (folder / "index.csv").exists() and all(map(Path.exists, map(Path, self.shards(dataset, "faces"))))


def _run(wildcards: Any) -> Run:
    return Run(wildcards.protocol, wildcards.dataset, wildcards.method, wildcards.variant, int(wildcards.seed))


def fingerprint(patterns: list[str]) -> str:
    """Digest what some files of the project say, without comments, docstrings and layout."""
    digest = hashlib.sha256()
    for pattern in patterns:
        files = sorted(path for path in ROOT.glob(pattern) if path.is_file())
        if not files:
            raise FileNotFoundError(f"{pattern} matches no file of the project")
        for file in files:
            text = file.read_text(encoding="utf-8")
            digest.update((_meaning(text) if file.suffix == ".py" else text).encode())
    return digest.hexdigest()[:16]


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _fetched(dataset: Dataset) -> bool:
    """Say whether an extractor's weights come from the project's folder and not from one that the user names."""
    return dataset.extractor == "face_alignment" and "weights" not in dataset.extractor_options


def _arguments(options: Mapping[str, Any]) -> str:
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())
