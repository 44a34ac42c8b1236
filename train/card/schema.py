"""The card of one run: all that one training and its evaluation need, checked; no torch here."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer, model_validator

from au_guidance.tables import suggestion
from train.backbones.registry import BACKBONES, TIMM

Layer = Annotated[int, Field(ge=1, le=5)]
Control = Literal["shuffled", "landmarks", "uniform", "agnostic"]  # drawn in train/data/controls.py
ValidationSplit = Literal["auto", "own", "seeded"]
Target = Literal["label", "votes"]
Domain = Literal["photographs", "drawings"]
# YAML reads a bare `off` as false.
Precision = Annotated[Literal["off", "bf16", "fp16"], BeforeValidator(lambda value: "off" if value is False else value)]


class Strict(BaseModel):
    """A part of a card or config: unknown keys are refused, nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        """Refuse a misspelt key with the list of the right ones."""
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"there is no key {key!r}{suggestion(str(key), cls.model_fields)}")
        return values


class Data(Strict):
    """Where the prepared dataset lies and which rows serve for what."""

    folder: Path = Field(description="folder with faces/, landmarks/ and heatmaps/ shards")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share of the training set held out (heldout)")
    validation_seed: int = Field(0, ge=0, description="seed of that split, the same for all runs")
    validation_split: ValidationSplit = Field("auto", description="which faces validate (heldout), see the config")

    target: Target = Field("label", description="what is learned: the label, or the annotators' votes as shares")
    domain: Domain = Field("photographs", description="what the pictures show; drawings: no answers about photographs")

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: Any) -> dict[str, Any]:
        """Leave out what is as it was before its key existed, so that cards keep their digest."""
        unsaid = {"validation_split": "auto", "target": "label", "domain": "photographs"}
        return {key: value for key, value in write(self).items() if unsaid.get(key) != value}


class Heatmap(Strict):
    """Which AU map is drawn for an expression."""

    codebook: str = Field("paper_code", description="expression -> AUs, a file in au_guidance/codebooks")
    geometry: str = Field("published", description="AU -> shapes on landmarks, a file in au_guidance/geometries")


class Model(Strict):
    """The network."""

    backbone: str = Field("resnet50", description=f"{', '.join(BACKBONES)} or {TIMM}")
    init: str = Field(
        "imagenet",
        description="imagenet, none, ms1m (ir50), or the path of a file with weights or of a run's checkpoint, where "
        "{variant} stands for the run's own",
    )
    weights: Path = Field(Path("weights"), description="folder that `snakemake weights` fills")
    image_size: int = Field(224, ge=32, description="side of the network's input, pixels")
    output_stride: Literal[8, 16, 32] | None = Field(
        None, description="how often layer 5 is smaller than the image, where timm can build its network so"
    )
    normalisation: Literal["imagenet", "image", "unit", "vggface2"] = Field(
        "imagenet",
        description="imagenet, vggface2: the channels' mean (and deviation) there; image: each image's own; unit: none",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the method")

    @model_serializer(mode="wrap")
    def _own_stride_unsaid(self, write: Any) -> dict[str, Any]:
        """Leave the stride out where it is the network's own, so that earlier cards keep their digest."""
        return {key: value for key, value in write(self).items() if (key, value) != ("output_stride", None)}


class Training(Strict):
    """How the network is trained (SGD with Nesterov momentum)."""

    epochs: int = Field(ge=1, description="passes over the training set")
    batch_size: int = Field(ge=1, description="images per step; the last partial batch is kept")
    evaluation_batch_size: int = Field(64, ge=1, description="images per forward in validation")
    learning_rate: float = Field(gt=0, description="initial learning rate")
    head_lr_ratio: float = Field(1.0, gt=0, description="rate of last stage and head, relative to learning_rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum")
    nesterov: bool = Field(True, description="Nesterov momentum")
    weight_decay: float = Field(5e-4, ge=0, description="on every parameter")
    schedule: Literal["step", "cosine"] = Field(
        "step", description="step: drops by gamma; cosine: linear warm-up over 15 % of the steps, then a cosine to 0"
    )
    step_size: int = Field(40, ge=1, description="epochs between two learning-rate drops (step)")
    gamma: float = Field(0.1, gt=0, le=1, description="factor of a drop; the floor is 1e-7 (step)")
    averaging: float = Field(0.0, ge=0, lt=1, description="decay of the running mean of weights that is kept; 0 = off")
    sampling: Literal["natural", "balanced"] = Field(
        "natural",
        description="natural: an epoch shows every face once; balanced: as many faces, each class equally often",
    )
    class_weights: bool = Field(
        False, description="weigh the classification loss of a class by the inverse of its share of the training faces"
    )
    looks_per_epoch: int = Field(
        1, ge=1, description="validations per epoch, evenly spaced, each of which may select the network that is kept"
    )
    deterministic: bool = Field(
        False, description="the same numbers in every training on the same GPU; slower, and some networks refuse it"
    )
    augmentation: Literal["paper", "published"] = Field("paper", description="crop and flip; the code's heavier one")
    amp: Precision = Field("off", description="automatic mixed precision; off on a CPU that would only emulate it")
    compile: bool = Field(False, description="torch.compile the network first; a minute that long trainings repay")
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0 = off")
    workers: int = Field(0, ge=0, description="threads that decode faces and draw maps ahead; 0 = the training's own")
    faces: Literal["auto", "device", "host", "stream"] = Field(
        "auto",
        description="where decoded faces lie: on the device, in host memory, nowhere (stream); auto: where they fit",
    )
    tensorboard: bool = Field(False, description="also write TensorBoard events (needs the package tensorboard)")

    @model_validator(mode="after")
    def _balanced_once(self) -> "Training":
        if self.sampling == "balanced" and self.class_weights:
            raise ValueError("sampling: balanced and class_weights: true would count rare classes twice; choose one")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: Any) -> dict[str, Any]:
        """Leave out what is as it was before its key existed, so that cards keep their digest."""
        unsaid = {"sampling": "natural", "class_weights": False, "looks_per_epoch": 1, "deterministic": False}
        return {key: value for key, value in write(self).items() if key not in unsaid or unsaid[key] != value}


class Guidance(Strict):
    """The AU term: weight * au_loss(features, batch, layers); weight 0 is plain training (paper, Eq. 3)."""

    weight: float = Field(ge=0, description="lambda of Eq. 3")
    layers: tuple[Layer, ...] = Field((5,), min_length=1, description="layers whose attention is aligned")
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="over layers: sum as the paper writes (Section 3.5, Eq. 3), mean as the published code"
    )
    resize: Literal["half_pixel", "published"] = Field("half_pixel", description="see au_guidance.loss.resize")
    map: Literal["own", Control] = Field(
        "own",
        description="own: the AU map of the face's class; controls: shuffled, that of another class; landmarks, no "
        "class; uniform; agnostic, the mean over classes",
    )

    @model_serializer(mode="wrap")
    def _own_unsaid(self, write: Any) -> dict[str, Any]:
        """Leave the map out where it is the AU map, so that cards from before the controls keep their digest."""
        values = write(self)
        return {key: value for key, value in values.items() if (key, value) != ("map", "own")}


class Card(Strict):
    """One run: dataset x method x variant x seed, under one protocol."""

    dataset: str
    method: str
    variant: Literal["plain", "au"]
    seed: int
    protocol: Literal["heldout", "paper"]
    data: Data
    heatmap: Heatmap
    model: Model
    training: Training
    guidance: Guidance

    def line(self, **options: Any) -> str:
        """Write the card as one line of JSON with sorted keys, so that equal cards give equal lines.

        The options of a method keep the order in which they were written, and a checkpoint sorts them. `options` are
        those of pydantic's `model_dump`.
        """
        return json.dumps(self.model_dump(mode="json", **options), sort_keys=True)

    def digest(self, **options: Any) -> str:
        """Return a fingerprint of the card; a training continues only under the card that began it."""
        return hashlib.sha256(self.line(**options).encode()).hexdigest()
