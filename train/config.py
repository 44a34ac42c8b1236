"""The card of one run: all that one training and its evaluation need, checked; no torch here."""

import ast
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_serializer, model_validator

from au_guidance.tables import suggestion
from pipeline.errors import UserError
from pipeline.plugins import ROOT, check
from train.options import SUFFIXES, declared, method_options, source, start
from train.zoo import check_network

Layer = Annotated[int, Field(ge=1, le=5)]
Control = Literal["shuffled", "landmarks", "uniform", "agnostic"]  # drawn in train/controls.py
# YAML reads a bare `off` as false.
Precision = Annotated[Literal["off", "bf16", "fp16"], BeforeValidator(lambda value: "off" if value is False else value)]

BACKBONES = {  # name -> its layers; built in train/backbones, which also knows timm/<name>
    "resnet18": (1, 2, 3, 4, 5),
    "resnet18_half": (1, 2, 3, 4, 5),
    "resnet18_quarter": (1, 2, 3, 4, 5),
    "resnet50": (1, 2, 3, 4, 5),
    "resnet50_small_maps": (1, 2, 3, 4, 5),
    "deit_small": (1, 2),
    "deit_micro": (1, 2),
    "ir50": (1,),
    "ir50_micro": (1,),
}
TIMM = "timm/<name>"
WEIGHTS = ROOT / "train" / "weights.yaml"  # the pretrained files that exist for them
MS1M = "backbone_ir50_ms1m_epoch120.pth"  # lies on Google Drive, which hands out no file without a person


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
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of the training set held out (protocol heldout)"
    )
    validation_seed: int = Field(0, ge=0, description="seed of that split, the same for all runs")


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
    normalisation: Literal["imagenet", "image", "unit", "vggface2"] = Field(
        "imagenet",
        description="imagenet, vggface2: the channels' mean (and deviation) there; image: each image's own; unit: none",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the method")


class Training(Strict):
    """How the network is trained (SGD with Nesterov momentum)."""

    epochs: int = Field(ge=1, description="passes over the training set")
    batch_size: int = Field(ge=1, description="images per step; the last partial batch is kept")
    evaluation_batch_size: int = Field(64, ge=1, description="images per forward in validation")
    learning_rate: float = Field(gt=0, description="initial learning rate")
    head_lr_ratio: float = Field(
        1.0, gt=0, description="learning rate of last stage and head, relative to learning_rate"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum")
    nesterov: bool = Field(True, description="Nesterov momentum")
    weight_decay: float = Field(5e-4, ge=0, description="on every parameter")
    schedule: Literal["step", "cosine"] = Field(
        "step", description="step: drops by gamma; cosine: linear warm-up over 15 % of the steps, then a cosine to 0"
    )
    step_size: int = Field(40, ge=1, description="epochs between two learning-rate drops (step)")
    gamma: float = Field(0.1, gt=0, le=1, description="factor of a drop; the floor is 1e-7 (step)")
    averaging: float = Field(
        0.0, ge=0, lt=1, description="decay per step of a running mean of the weights, which is what is kept; 0 = off"
    )
    augmentation: Literal["paper", "published"] = Field(
        "paper", description="paper: crop and flip; published: the heavier one of the code"
    )
    amp: Precision = Field("off", description="automatic mixed precision; off on a CPU that would only emulate it")
    compile: bool = Field(
        False, description="compile the network first (torch.compile); a minute that long trainings repay"
    )
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0 = off")
    workers: int = Field(0, ge=0, description="threads that decode faces and draw maps ahead; 0 = the training's own")
    faces: Literal["auto", "device", "host", "stream"] = Field(
        "auto",
        description="where decoded faces lie: on the device, in host memory, nowhere (stream); auto: where they fit",
    )
    tensorboard: bool = Field(False, description="also write TensorBoard events (needs the package tensorboard)")


class Guidance(Strict):
    """The AU term: weight * au_loss(features, batch, layers); weight 0 is plain training (paper, Eq. 3)."""

    weight: float = Field(ge=0, description="lambda of Eq. 3")
    layers: tuple[Layer, ...] = Field((5,), min_length=1, description="layers whose attention is aligned")
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="over layers: sum as the paper writes, mean as the published code"
    )
    resize: Literal["half_pixel", "published"] = Field(
        "half_pixel", description="how maps are resized, see au_guidance.loss.resize"
    )
    map: Literal["own", Control] = Field(
        "own",
        description="own: the AU map of the face's class; controls: shuffled, that of another class; landmarks, no "
        "class; uniform; agnostic, the mean over classes",
    )

    @model_serializer(mode="wrap")
    def _own_unsaid(self, write: Any) -> dict[str, Any]:
        """Leave the map out where it is the AU map: cards from before there were controls keep their digest."""
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

        The options of a method keep the order of whoever wrote them, and a checkpoint sorts them. `options` are
        those of pydantic's `model_dump`.
        """
        return json.dumps(self.model_dump(mode="json", **options), sort_keys=True)

    def digest(self, **options: Any) -> str:
        """Return a fingerprint of the card; a training continues only under the card that began it."""
        return hashlib.sha256(self.line(**options).encode()).hexdigest()


def read_card(path: Path) -> Card:
    """Read and check a `run.yaml`; raise UserError that names the file and the key."""
    try:
        card = Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `python -m workflow.card` writes it") from None
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a text file in UTF-8: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    check_model(card, key=str(path))
    return card


def check_model(card: Card, key: str = "") -> None:
    """Raise UserError if the method, the backbone or its initial weights do not exist, or on a wrong option."""
    lead = f"{key}: " if key else ""
    check("train.methods", card.method, f"{lead}method")
    known = method_options(card.method)
    for name in card.model.options:
        if name not in known:
            what = suggestion(name, known) if known else "; it takes none"
            raise UserError(f"{lead}model.options: the method {card.method} has no option {name!r}{what}")
    try:
        declared(card.method).model_validate(card.model.options)
    except ValidationError as error:
        raise UserError(f"{lead}model.options.{explain(error)}") from None
    _check_backbone(card, lead)
    _check_init(card.model, lead)


def _check_backbone(card: Card, lead: str) -> None:
    backbone = card.model.backbone
    kind = TIMM if backbone.startswith("timm/") else backbone
    if kind not in (*BACKBONES, TIMM):
        choices = suggestion(backbone, [*BACKBONES, TIMM])
        raise UserError(f"{lead}model.backbone: there is no backbone {backbone!r}{choices}")
    if kind == TIMM:
        check_network(backbone.removeprefix("timm/"), f"{lead}model.backbone")
    suitable = method_backbones(card.method)
    if kind not in suitable:
        raise UserError(
            f"{lead}model.backbone: the method {card.method} runs on {', '.join(suitable)}, not on {backbone}"
        )
    layers = BACKBONES.get(backbone, card.guidance.layers)  # those of a timm network are known when it is built
    absent = [layer for layer in card.guidance.layers if layer not in layers]
    if absent:
        known = ", ".join(map(str, layers))
        raise UserError(f"{lead}guidance.layers: {backbone} has no layer {absent[0]}; it has {known}")


def _check_init(model: Model, lead: str) -> None:
    backbone, init = model.backbone, model.init
    try:
        start(init, "imagenet", "none", "ms1m")
    except ValueError as error:
        raise UserError(f"{lead}model.init: {error}") from None
    if init == "ms1m" and backbone != "ir50":
        raise UserError(f"{lead}model.init: the ms1m weights are of ir50, not of {backbone}")
    if init == "imagenet" and not backbone.startswith("timm/") and f"backbone:{backbone}" not in known_weights():
        other = "ms1m, " if backbone == "ir50" else ""
        raise UserError(
            f"{lead}model.init: nobody publishes ImageNet weights of {backbone}; give {other}none or a file's path"
        )


def method_backbones(name: str) -> list[str]:
    """List the backbones that a method runs on: the constant BACKBONES of its file, else all that have a layer 5."""
    for part in source(name).body:
        match part:
            case ast.Assign([ast.Name("BACKBONES")], names):
                return list(ast.literal_eval(names))
    return [*(backbone for backbone, layers in BACKBONES.items() if 5 in layers), TIMM]


def training_card(card: Card) -> Card:
    """Return the card of the training that serves a run: that of the method it is TRAINED_AS, or its own.

    `TRAINED_AS` is a constant in the file of a method that only reads another one's network in its own way.
    """
    for part in source(card.method).body:
        match part:
            case ast.Assign([ast.Name("TRAINED_AS")], ast.Constant(str(other))):
                return card.model_copy(update={"method": other, "model": card.model.model_copy(update={"options": {}})})
    return card


def known_weights() -> dict[str, str]:
    """Read the list of pretrained files: need -> address."""
    return yaml.safe_load(WEIGHTS.read_text(encoding="utf-8"))


def needed_weights(card: Card) -> list[str]:
    """Name the pretrained weights that a run starts from, as `python -m train.weights --need` takes them.

    They are those of the backbone and those of the method's options that say "imagenet".
    """
    values = {f"backbone:{card.model.backbone}": card.model.init}
    values |= {f"{card.method}:{option}": value for option, value in card.model.options.items()}
    return [need for need, value in values.items() if value == "imagenet"]


def given_weights(card: Card) -> list[Path]:
    """Name the files with weights that a run starts from and a person must put in place."""
    values = [str(value) for value in (card.model.init, *card.model.options.values())]
    known = {"ms1m": card.model.weights / MS1M}
    return [known.get(value, Path(value)) for value in values if value in known or value.endswith(SUFFIXES)]


def explain(error: ValidationError) -> str:
    """Say the first problem of a failed check in one line: the key, what is wrong, how many more there are."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key + ': ' if key else ''}{what}{more}"
