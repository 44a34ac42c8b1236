"""config.yaml: read, checked, and turned into the grid of runs with one card each; no torch here.

`python -m workflow.config [FILE]` checks a file and lists its runs; `--keys` describes every key.
"""

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model, model_validator

from pipeline.errors import UserError, run
from pipeline.plugins import ROOT, check, suggestion
from train.config import Card, Data, Guidance, Heatmap, Layer, Model, Strict, Training, check_model, explain

# Targets and rules of the workflow; an experiment is a target too and needs a name of its own.
RESERVED = {
    "all", "average_maps", "compare_maps", "faces", "faces_shard", "generate",
    "guidance", "heatmaps", "heatmaps_shard", "index", "index_dataset", "landmarks", "landmarks_shard",
    "predict", "score", "status", "table", "tables", "train", "train_run",
    "weights",
}  # fmt: skip
Protocol = Literal["heldout", "paper"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


def change(model: type[BaseModel]) -> Any:
    """Make the model of a section that sets only some keys of `model`."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        fields[name] = (kind | None, Field(None, description=field.description))
    return create_model(f"{model.__name__}Change", __base__=Strict, **fields)


class Settings(Strict):
    """Changes to the card of some runs; later levels win: all, method, dataset, method on dataset."""

    model: change(Model) = Field(None, description="the network")  # type: ignore[valid-type]
    training: change(Training) = Field(None, description="how it is trained")  # type: ignore[valid-type]
    guidance: change(Guidance) = Field(None, description="the AU term of the variant au")  # type: ignore[valid-type]


class Generate(Strict):
    """How the synthetic dataset is made."""

    identities_train: int = Field(ge=1, description="people in the training set")
    identities_test: int = Field(ge=1, description="other people in the test set")
    per_class: int = Field(1, ge=1, description="images of each person and expression")
    size: int = Field(224, ge=96, description="side of an image, pixels")
    seed: int = Field(0, ge=0, description="everything that is drawn follows from it")


class Dataset(Settings):
    """A dataset on disk and how it is prepared."""

    source: str = Field(description="its layout, a file in pipeline/sources")
    root: Path | None = Field(None, description="its folder")
    generate: Generate | None = Field(None, description="make the dataset instead (source synthetic)")
    detector: str = Field("dlib", description="face box and five points, a file in pipeline/detectors")
    extractor: str = Field("face_alignment", description="68 landmarks, a file in pipeline/extractors")
    extractor_options: dict[str, str | int | float | bool] = Field(default_factory=dict, description="its options")
    crop: int = Field(256, ge=64, description="side of an aligned face, pixels")
    alignment: Literal["corrected", "published"] = Field(
        "corrected", description="rules of the crop, see pipeline.align"
    )
    quality: int = Field(95, ge=1, le=100, description="JPEG quality of stored faces")
    shards: int = Field(16, ge=1, description="files per stage, built in parallel")
    methods: dict[str, Settings] = Field(default_factory=dict, description="settings of one method on this dataset")

    @model_validator(mode="after")
    def _one_origin(self) -> "Dataset":
        if (self.root is None) == (self.generate is None):
            raise ValueError("give either `root`, the folder of the dataset, or `generate`")
        if self.generate and self.source != "synthetic":
            raise ValueError(f"only the source 'synthetic' can `generate`; give the `root` of {self.source!r}")
        return self


class Experiment(Strict):
    """A named part of the grid, and the table of its results."""

    datasets: list[str] = Field(min_length=1, description="names from `datasets`")
    methods: list[str] = Field(min_length=1, description="files in train/methods")
    variants: list[Literal["plain", "au"]] = Field(["plain", "au"], description="without and with AU guidance")
    weights: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=list, description="further lambdas to train with"
    )
    layers: list[Annotated[tuple[Layer, ...], Field(min_length=1)]] = Field(
        default_factory=list, description="further layer sets to guide"
    )
    seeds: list[Annotated[int, Field(strict=True)]] = Field([0], min_length=1, description="one run each")
    protocol: Protocol | None = Field(None, description="instead of the global one")


class Validation(Strict):
    """The held-out part of the training set (protocol heldout)."""

    fraction: float = Field(0.1, gt=0, lt=1, description="share of the training set")
    seed: int = Field(0, ge=0, description="of the split; the same for all runs")


class Config(Settings):
    """Every choice of the experiments."""

    results: Path = Field(Path("results"), description="folder that everything is written to")
    weights: Path = Field(Path("weights"), description="folder of pretrained weights, filled by `snakemake weights`")
    protocol: Protocol = Field(
        "heldout", description="heldout: a part of the training set selects; paper: the test set"
    )
    validation: Validation = Field(Validation(), description="the held-out part")
    heatmap: Heatmap = Field(Heatmap(), description="which AU map is drawn")
    datasets: dict[Name, Dataset] = Field(min_length=1, description="by the name that results show")
    methods: dict[str, Settings] = Field(default_factory=dict, description="settings of one method on all datasets")
    experiments: dict[Name, Experiment] = Field(min_length=1, description="each is a target of the same name")


@dataclass(frozen=True, order=True)
class Run:
    """One training: protocol x dataset x method x variant x seed."""

    protocol: str
    dataset: str
    method: str
    variant: str
    seed: int

    @property
    def folder(self) -> str:
        """Where it lies below `<results>/runs`."""
        return f"{self.protocol}/{self.dataset}/{self.method}/{self.variant}/seed{self.seed}"


def parse(values: Mapping[str, Any], name: str = "config.yaml") -> Config:
    """Check the content of a config file; raise UserError with one line that names the key and lists what exists."""
    try:
        config = Config.model_validate(values)
        _check_names(config)
        for one in grid(config):
            card(config, one)
    except ValidationError as error:
        raise UserError(f"{name}: {explain(error)}") from None
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return config


def read(path: Path) -> Config:
    """Read and check a config file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys")
    return parse(values, str(path))


def grid(config: Config, experiment: str | None = None) -> list[Run]:
    """List the runs of one experiment, or of all; a run that several share appears once."""
    chosen = [config.experiments[experiment]] if experiment else list(config.experiments.values())
    return list(dict.fromkeys(one for part in chosen for one in _runs(config, part)))


def card(config: Config, one: Run) -> Card:
    """Put together all that one run needs."""
    sections = {part: _merged(config, one, part) for part in ("model", "training", "guidance")}
    sections["model"].setdefault("weights", config.weights)
    sections["guidance"].update(_guided(one.variant))
    data = Data(
        folder=config.results / "data" / one.dataset,
        validation_fraction=config.validation.fraction,
        validation_seed=config.validation.seed,
    )
    kind = one.variant.partition("-")[0]
    values = {**vars(one), "variant": kind, "data": data, "heatmap": config.heatmap, **sections}
    try:
        made = Card.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{one.method} on {one.dataset}: {explain(error)}") from None
    check_model(made, key=f"{one.method} on {one.dataset}")
    return made


def variant(guidance: Guidance) -> str:
    """Name a guided variant by its lambda and layers; equal settings share a name, and so a training."""
    weight = int(guidance.weight) if guidance.weight.is_integer() else guidance.weight
    return f"au-w{weight!r}-l{'+'.join(map(str, sorted(set(guidance.layers), reverse=True)))}"


def _guided(name: str) -> dict[str, Any]:
    if name == "plain":
        return {"weight": 0.0}
    weight, layers = name.removeprefix("au-w").split("-l")
    return {"weight": float(weight), "layers": tuple(map(int, layers.split("+")))}


def _runs(config: Config, part: Experiment) -> Iterator[Run]:
    for dataset in part.datasets:
        for method in part.methods:
            for name in _variants(config, part, dataset, method):
                for seed in part.seeds:
                    yield Run(part.protocol or config.protocol, dataset, method, name, seed)


def _variants(config: Config, part: Experiment, dataset: str, method: str) -> Iterator[str]:
    base = _merged(config, Run(config.protocol, dataset, method, "plain", 0), "guidance")
    try:
        guidance = Guidance.model_validate(base)
    except ValidationError as error:
        raise UserError(f"guidance of {method} on {dataset}: {explain(error)}") from None
    if "au" in part.variants and guidance.weight == 0:
        raise UserError(f"guidance.weight of {method} on {dataset} is 0; the variant au needs a lambda above it")
    yield from ("plain" if name == "plain" else variant(guidance) for name in part.variants)
    yield from (variant(guidance.model_copy(update={"weight": weight})) for weight in part.weights)
    yield from (variant(guidance.model_copy(update={"layers": layers})) for layers in part.layers)


def _merged(config: Config, one: Run, part: str) -> dict[str, Any]:
    dataset = config.datasets[one.dataset]
    levels = (config, config.methods.get(one.method), dataset, dataset.methods.get(one.method))
    merged: dict[str, Any] = {}
    for section in (getattr(level, part) for level in levels if level):
        merged |= section.model_dump(exclude_unset=True) if section else {}
    return merged


def tables(config: Config) -> dict[str, tuple[str, str]]:
    """Name all tables: the experiment that each shows, and which kind of `eval.table` it is."""
    return {table: (name, kind) for name in config.experiments for table, kind in _tables_of(config, name).items()}


def _tables_of(config: Config, name: str) -> dict[str, str]:
    experiment = config.experiments[name]
    if experiment.weights or experiment.layers:
        return {name: "sweep"}
    return {name: "table1", "table2" if name == "table1" else f"{name}-attention": "table2"}


def _check_names(config: Config) -> None:
    for name, dataset in config.datasets.items():
        check("pipeline.sources", dataset.source, f"datasets.{name}.source")
        check("pipeline.detectors", dataset.detector, f"datasets.{name}.detector")
        check("pipeline.extractors", dataset.extractor, f"datasets.{name}.extractor")
        _check_extractor_options(dataset, f"datasets.{name}.extractor_options")
        for method in dataset.methods:
            check("train.methods", method, f"datasets.{name}.methods")
    check("pipeline.codebooks", config.heatmap.codebook, "heatmap.codebook")
    check("pipeline.geometries", config.heatmap.geometry, "heatmap.geometry")
    for method in config.methods:
        check("train.methods", method, "methods")
    shown = [table for name in config.experiments for table in (*_tables_of(config, name), f"{name}-guidance")]
    for name, part in config.experiments.items():
        if name in RESERVED or shown.count(name) > 1:
            raise UserError(f"experiments: {name!r} is the name of another target or table; choose another one")
        for method in part.methods:
            check("train.methods", method, f"experiments.{name}.methods")
        for dataset_name in part.datasets:
            if dataset_name not in config.datasets:
                hint = suggestion(dataset_name, config.datasets)
                raise UserError(f"experiments.{name}.datasets: there is no dataset {dataset_name!r}{hint}")


def _check_extractor_options(dataset: Dataset, key: str) -> None:
    """Compare options with the arguments of `extract`, read without importing it; one with the default "" is needed."""
    tree = ast.parse((ROOT / "pipeline" / "extractors" / f"{dataset.extractor}.py").read_text(encoding="utf-8"))
    found = next(part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == "extract")
    known = [argument.arg for argument in found.args.args[1:]]
    for name in dataset.extractor_options:
        if name not in known:
            hint = suggestion(name, known) if known else "; it takes none"
            raise UserError(f"{key}: the extractor {dataset.extractor} has no option {name!r}{hint}")
    for name, default in zip(known[::-1], found.args.defaults[::-1], strict=False):
        if isinstance(default, ast.Constant) and default.value == "" and name not in dataset.extractor_options:
            raise UserError(f"{key}: the extractor {dataset.extractor} needs the option {name!r}")


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield one line per key of the config: its path, default and meaning."""
    for name, field in model.model_fields.items():
        default = (
            "" if field.is_required() or field.default is None else f" [{field.get_default(call_default_factory=True)}]"
        )
        yield f"{prefix}{name}{default}: {field.description}"
        for inner in _models(field.annotation):
            nested = "<name>." if "dict" in str(field.annotation) else ""
            if inner is not Settings:
                yield from keys(inner, f"{prefix}{name}.{nested}")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Check a config file and list its runs.")
    parser.add_argument("file", nargs="?", type=Path, default=Path("config.yaml"))
    parser.add_argument("--keys", action="store_true", help="describe every key instead")
    arguments = parser.parse_args()
    if arguments.keys:
        print("\n".join(keys()))
        return
    config = read(arguments.file)
    for name in config.experiments:
        runs = grid(config, name)
        print(f"{name}: {len(runs)} runs", *(f"  {one.folder}" for one in runs), sep="\n")


if __name__ == "__main__":
    run(main)
