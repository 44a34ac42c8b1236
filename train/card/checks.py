"""Checks of a run's card that go beyond the types of its keys; no torch here."""

from collections.abc import Collection
from pathlib import Path

import yaml
from pydantic import ValidationError

from au_guidance.tables import suggestion
from pipeline.errors import UserError
from pipeline.plugins import check
from pipeline.storage.files import write_text
from train.backbones.registry import BACKBONES, TIMM, check_timm_network
from train.card.options import SUFFIXES, check_start, method_constant, method_options, options_model
from train.card.schema import Card, Model
from train.weights.fetch import MS1M, known_weights


def read_card(path: Path) -> Card:
    """Read and check a `run.yaml`; raise UserError that names the file and the key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name the run.yaml of a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a text file in UTF-8: {error}") from None
    return parse_card(text, str(path))


def parse_card(text: str, origin: str) -> Card:
    """Check a card given as YAML or JSON; raise UserError that names its origin, such as a file, and the key."""
    try:
        card = Card.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise UserError(f"{origin}: {describe_error(error)}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is not YAML: {' '.join(str(error).split())}") from None
    check_model(card, key=origin)
    return card


def write_card(card: Card, path: Path) -> None:
    """Write a card as YAML, whole or not at all."""
    write_text(path, yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False))


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
        options_model(card.method).model_validate(card.model.options)
    except ValidationError as error:
        raise UserError(f"{lead}model.options.{describe_error(error)}") from None
    _check_backbone(card, lead)
    _check_init(card.model, lead)


def _check_backbone(card: Card, lead: str) -> None:
    backbone = card.model.backbone
    key, kind = f"{lead}model.backbone", TIMM if backbone.startswith("timm/") else backbone
    if kind not in (*BACKBONES, TIMM):
        choices = suggestion(backbone, [*BACKBONES, TIMM])
        raise UserError(f"{key}: there is no backbone {backbone!r}{choices}")
    if kind == TIMM:
        check_timm_network(backbone.removeprefix("timm/"), key)
    elif card.model.output_stride is not None:
        raise UserError(f"{lead}model.output_stride: {backbone} has its own strides; only timm/<name> takes others")
    suitable = method_backbones(card.method)
    if kind not in suitable:
        raise UserError(f"{key}: the method {card.method} runs on {', '.join(suitable)}, not on {backbone}")
    if backbone in BACKBONES:
        check_layers(card, BACKBONES[backbone].layers, lead)


def check_layers(card: Card, layers: Collection[int], lead: str = "") -> None:
    """Raise UserError if a guided layer is not among those of the backbone."""
    for layer in card.guidance.layers:
        if layer not in layers:
            known = ", ".join(map(str, layers))
            raise UserError(f"{lead}guidance.layers: {card.model.backbone} has no layer {layer}; it has {known}")


def _check_init(model: Model, lead: str) -> None:
    key, backbone, init = f"{lead}model.init", model.backbone, model.init
    try:
        check_start(init, "imagenet", "none", "ms1m")
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None
    if init == "ms1m" and backbone != "ir50":
        raise UserError(f"{key}: the ms1m weights are of ir50, not of {backbone}")
    if init == "imagenet" and not backbone.startswith("timm/") and f"backbone:{backbone}" not in known_weights():
        other = "ms1m, " if backbone == "ir50" else ""
        raise UserError(f"{key}: there are no ImageNet weights of {backbone}; give {other}none or a file's path")


def method_backbones(name: str) -> list[str]:
    """List the backbones that a method runs on: the constant BACKBONES of its file, else all that have a layer 5."""
    suitable = method_constant(name, "BACKBONES")
    return list(suitable or [*(name for name, known in BACKBONES.items() if 5 in known.layers), TIMM])


def training_card(card: Card) -> Card:
    """Return the card of the training that serves a run: that of the method it is TRAINED_AS, or its own.

    `TRAINED_AS` is a constant in the file of a method that only reads another one's network in its own way.
    """
    other = method_constant(card.method, "TRAINED_AS")
    if other is None:
        return card
    return card.model_copy(update={"method": other, "model": card.model.model_copy(update={"options": {}})})


def needed_weights(card: Card) -> list[str]:
    """List the pretrained weights that a run starts from, as `python -m train.weights --need` takes them.

    They are those of the backbone and of the method's options whose value is "imagenet".
    """
    values = {f"backbone:{card.model.backbone}": card.model.init}
    values |= {f"{card.method}:{option}": value for option, value in card.model.options.items()}
    return [need for need, value in values.items() if value == "imagenet"]


def given_weights(card: Card) -> dict[str, Path]:
    """Return the files with weights that a run starts from and that the user must put in place, by the key of each."""
    options = {f"model.options.{name}": str(value) for name, value in card.model.options.items()}
    values = {"model.init": card.model.init, **options}
    known = {"ms1m": card.model.weights / MS1M}
    return {
        key: known.get(value, Path(value))
        for key, value in values.items()
        if value in known or value.endswith(SUFFIXES)
    }


def describe_error(error: ValidationError) -> str:
    """Describe the first problem of a failed check in one line: the key, what is wrong, how many more there are."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key + ': ' if key else ''}{what}{more}"
