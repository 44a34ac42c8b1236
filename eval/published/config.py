"""The config of a released checkpoint, `config_model.yaml`, as the card that it amounts to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from au_guidance.tables import suggestion
from eval.published.methods import FIXED, METHODS, ReleasedMethod
from pipeline.errors import UserError
from train.card.checks import check_model, describe_error
from train.card.schema import Card

DATASETS = {"RAF-DB": "rafdb", "AffectNet": "affectnet"}
NORMALISATIONS = {"imagenet": "imagenet", "None": "unit", "VGGFace2": "vggface2"}  # by the encoder's initial weights


class _Loader(yaml.SafeLoader):
    """Loads plain values and the class that holds nested settings in the authors' code; other tags are errors."""


def _munch(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("!munch.Munch", _munch)


class ReleasedConfig:
    """The arguments in one config_model.yaml of the authors; the key `a.b` is `b` inside `a`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.values: Any = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; give a folder of the authors' shared-trained-models") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None
        except yaml.YAMLError as error:
            raise UserError(f"{path} is not the YAML that is expected: {' '.join(str(error).split())}") from None

    def __getitem__(self, key: str) -> Any:
        """Look up a key; raise UserError that names it if it is not there."""
        value = self.values
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise UserError(f"{self.path} has no key {key}")
            value = value[part]
        return value

    def choice(self, key: str, known: Mapping[str, Any]) -> Any:
        """Translate the value of a key; raise UserError with a suggestion if it is not known."""
        value = str(self[key])
        if value not in known:
            raise UserError(f"{self.path}: {key} is {value!r}, which is unknown here{suggestion(value, known)}")
        return known[value]


def released_method(config: ReleasedConfig) -> ReleasedMethod:
    """Return the method of a config; raise UserError if the method or one of its settings is not supported here."""
    method: ReleasedMethod = config.choice("method", METHODS)
    parts = {"spatial_pooling": (method.pooling,), "model.encoder_name": (method.encoder,)}
    for key, values in {**FIXED, **parts, **method.fixed}.items():
        if config[key] not in values:
            what = f"{key} is {config[key]!r}; only {values[0]!r} can be imported for {config['method']}"
            raise UserError(f"{config.path}: {what}")
    return method


def card_of(config: ReleasedConfig, data: Path) -> Card:
    """Return the card of a released run; `data` is the folder of the prepared dataset, {dataset} stands for its name.

    The card holds the settings of the authors' training. Its network needs no file of initial weights.
    """
    method, dataset = released_method(config), config.choice("dataset", DATASETS)
    values = {
        "dataset": dataset,
        "method": method.name,
        "variant": "au" if config["align_atten_to_heatmap"] else "plain",
        "seed": config["MYSEED"],
        "protocol": "paper",
        "data": {"folder": str(data).replace("{dataset}", dataset)},
        "heatmap": {"codebook": "paper_code", "geometry": "published"},
        "model": _model(config, method),
        "training": _training(config, method),
        "guidance": _guidance(config, method),
    }
    try:
        card = Card.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{config.path}: {describe_error(error)}") from None
    check_model(card, key=str(config.path))
    return card


def _model(config: ReleasedConfig, method: ReleasedMethod) -> dict[str, Any]:
    resnet = "resnet50" if config["model.large_maps"] else "resnet50_small_maps"
    mode = {"mode": "published"} if method.mode else {}
    return {
        "backbone": {"tscam": "deit_small", "apvit": "ir50"}.get(method.name, resnet),
        "init": "none",
        "image_size": 112 if method.name == "apvit" else config["crop_size"],
        "normalisation": config.choice("model.encoder_weights", NORMALISATIONS),
        "options": mode | {option: config[key] for option, key in method.options.items()},
    }


def _training(config: ReleasedConfig, method: ReleasedMethod) -> dict[str, Any]:
    transformer = method.layer == 1  # transformers have one group of parameters
    return {
        "epochs": config["max_epochs"],
        "batch_size": config["batch_size"],
        "evaluation_batch_size": config["eval_batch_size"],
        "learning_rate": config["optimizer.opt__lr"],
        "head_lr_ratio": 1.0 if transformer else config["optimizer.opt__lr_classifier_ratio"],
        "momentum": config["optimizer.opt__momentum"],
        "nesterov": config["optimizer.opt__nesterov"],
        "weight_decay": config["optimizer.opt__weight_decay"],
        "step_size": config["optimizer.opt__step_size"],
        "gamma": config["optimizer.opt__gamma"],
        "augmentation": "published",
        "amp": "fp16" if config["amp"] else "off",
        "clip_norm": config["optimizer.opt__clipgrad"],
    }


def _guidance(config: ReleasedConfig, method: ReleasedMethod) -> dict[str, Any]:
    start = "align_atten_to_heatmap"
    aligned = config[start]
    return {
        "weight": config[f"{start}_lambda"] if aligned else 0.0,
        "layers": str(config[f"{start}_layers"]).split("-") if aligned else [method.layer],
        "reduction": "mean",
        "resize": "published",
    }
