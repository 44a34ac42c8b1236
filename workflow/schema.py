"""The sections of config.yaml: every key, its possible values and its meaning."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model, model_validator

from train.card.schema import Control, Guidance, Heatmap, Layer, Model, Strict, Target, Training, ValidationSplit

Protocol = Literal["heldout", "paper"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
SWEEPS = {"weights": "lambda", "layers": "table3", "controls": "controls"}  # key of an experiment -> its kind


def change(model: type[BaseModel]) -> Any:
    """Make the model of a section that may set any of the keys of `model`."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        fields[name] = (kind | None, Field(None, description=field.description))
    return create_model(f"{model.__name__}Change", __base__=Strict, **fields)


class Settings(Strict):
    """Settings of some runs; the most specific level wins: method on dataset, then method, then dataset, then all."""

    model: change(Model) = Field(None, description="the network")  # type: ignore[valid-type]
    training: change(Training) = Field(None, description="the optimiser, its schedule and the data")  # type: ignore[valid-type]
    guidance: change(Guidance) = Field(None, description="the AU term of the variant au")  # type: ignore[valid-type]


class Generate(Strict):
    """How a dataset of drawn faces is generated."""

    identities_train: int = Field(ge=1, description="persons in the training set")
    identities_test: int = Field(ge=1, description="persons in the test set, none of them in the training set")
    per_class: int = Field(1, ge=1, description="images per person and expression")
    size: int = Field(224, ge=96, description="side of an image, pixels")
    seed: int = Field(0, ge=0, description="seed of all random choices")


class Dataset(Settings):
    """A dataset on disk and how it is prepared."""

    source: str = Field(description="reader of its layout, a file in pipeline/sources")
    root: Path | None = Field(None, description="its folder")
    generate: Generate | None = Field(None, description="generate the dataset instead (source synthetic)")
    detector: str = Field("blaze", description="face box and five points, a file in pipeline/detectors")
    detector_options: dict[str, str | int | float | bool] = Field(default_factory=dict, description="its options")
    extractor: str = Field("mesh", description="68 landmarks, a file in pipeline/extractors")
    extractor_options: dict[str, str | int | float | bool] = Field(default_factory=dict, description="its options")
    crop: int = Field(256, ge=64, description="side of an aligned face, pixels")
    alignment: Literal["face", "corrected", "published"] = Field(
        "face",
        description="what the crop shows; face: the whole face; corrected: the published window, without the chin; "
        "published: that one as the published code computes it",
    )
    quality: Annotated[int, Field(ge=1, le=100)] | Literal["raw"] = Field(
        95, description="JPEG quality of stored faces; raw: uncompressed pixels, thirteen times as large"
    )
    max_megapixels: float = Field(
        100, gt=0, le=10_000, description="larger images are not decoded and count as unreadable"
    )
    shards: int = Field(16, ge=1, description="files per stage, built in parallel")
    target: Target = Field("label", description="what is learned: the label, or votes, the annotators' votes as shares")
    methods: dict[str, Settings] = Field(default_factory=dict, description="settings of one method on this dataset")

    @model_validator(mode="after")
    def _one_origin(self) -> "Dataset":
        if (self.root is None) == (self.generate is None):
            raise ValueError("give either `root`, the folder of the dataset, or `generate`")
        if self.generate and self.source != "synthetic":
            raise ValueError(f"only the source 'synthetic' can `generate`; give the `root` of {self.source!r}")
        return self


class Experiment(Strict):
    """A named part of the grid, with tables and figures of its own."""

    datasets: list[str] = Field(min_length=1, description="names from `datasets`")
    methods: list[str] = Field(min_length=1, description="files in train/methods")
    variants: list[Literal["plain", "au"]] = Field(["plain", "au"], description="without and with AU guidance")
    weights: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=list, description="further lambdas to train with"
    )
    layers: list[Annotated[tuple[Layer, ...], Field(min_length=1)]] = Field(
        default_factory=list, description="further layer sets to guide"
    )
    controls: list[Control] = Field(
        default_factory=list, description="further guiding maps, see guidance.map, at the same lambda and layers"
    )
    seeds: list[Annotated[int, Field(strict=True)]] = Field([0], min_length=1, description="one run per seed")
    protocols: list[Protocol] = Field(default_factory=list, description="replace the global one; each has its own runs")

    @property
    def kind(self) -> str:
        """Its kind, which decides its tables and figures: lambda, table3, controls, or table1 if nothing varies."""
        return next((name for key, name in SWEEPS.items() if getattr(self, key)), "table1")

    @model_validator(mode="after")
    def _one_sweep(self) -> "Experiment":
        varied = [key for key in SWEEPS if getattr(self, key)]
        if len(varied) > 1:
            raise ValueError(f"it varies {' and '.join(varied)}; make an experiment of each; they share equal runs")
        return self


class Evaluation(Strict):
    """How much of each run is measured and drawn."""

    faithfulness_images: int = Field(
        256, ge=0, description="test faces per run for deletion, insertion and ROAD; 0 = do not measure them"
    )
    gallery_faces: int = Field(8, ge=0, description="test faces per class in the report's gallery; 0 = no gallery")
    seed: int = Field(0, ge=0, description="seed that selects both")


class Validation(Strict):
    """Which faces select the epoch (protocol heldout): the dataset's own validation split, or a part of train."""

    split: ValidationSplit = Field(
        "auto",
        description="own: the dataset's own split; seeded: a part of the training set; auto: own if there is one",
    )
    fraction: float = Field(0.1, gt=0, lt=1, description="its share of the training set (seeded)")
    seed: int = Field(0, ge=0, description="seed of that part, the same for all runs")


class Published(Strict):
    """The authors' files that `snakemake published` evaluates."""

    root: Path = Field(description="their unpacked shared-trained-models, which holds FG_FER")
    folds: Path = Field(description="their unpacked folds, which holds wsol-done-right-splits")


class Config(Settings):
    """All settings of the experiments."""

    results: Path = Field(Path("results"), description="folder of all outputs")
    weights: Path = Field(Path("weights"), description="folder of pretrained weights, filled by `snakemake weights`")
    protocol: Protocol = Field(
        "heldout", description="what selects the epoch; heldout: validation faces, see validation; paper: the test set"
    )
    independent: bool = Field(
        False, description="train gradcam, gradcampp and layercam even where they could reuse the training of cam"
    )
    gpus: int = Field(1, ge=1, description="GPUs per training; the result is the same on any number of them")
    save_minutes: int = Field(10, ge=1, description="between saves within an epoch; changing it trains nothing again")
    validation: Validation = Field(Validation(), description="the validation faces of protocol heldout")
    heatmap: Heatmap = Field(Heatmap(), description="which AU map is drawn")
    datasets: dict[Name, Dataset] = Field(min_length=1, description="datasets by name")
    methods: dict[str, Settings] = Field(default_factory=dict, description="settings of one method on all datasets")
    experiments: dict[Name, Experiment] = Field(min_length=1, description="by name; each is a target of that name")
    evaluation: Evaluation = Field(Evaluation(), description="how much of each run is measured and drawn")
    published: Published | None = Field(None, description="the authors' files, for `snakemake published`")


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
