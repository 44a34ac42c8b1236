"""The authors' released checkpoints: which card a folder's config amounts to, and how its tensors are called.

A folder holds `model.pt`, tensors only, and `config_model.yaml`, all arguments of the published code. The tables here
restate the spec of the methods, sections 0 and 12.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from au_guidance.tables import suggestion
from pipeline.errors import UserError
from train.card.checks import check_model, explain
from train.card.schema import Card

DATASETS = {"RAF-DB": "rafdb", "AffectNet": "affectnet"}
NORMALISATIONS = {"imagenet": "imagenet", "None": "unit", "VGGFace2": "vggface2"}  # by what the encoder started from


@dataclass(frozen=True)
class Release:
    """One method of the published code: its name here, and the names that its folders, config and tensors have there.

    `options` are ours -> a key of the config. `tensors` are beginnings of names, ours -> theirs, of which the first
    that fits counts. `layer` is the one that the published evaluation looks at where the config aligns none. `pooling`
    and `encoder` are parts of a folder's name, and of its config, where they must be these. `only` are further keys of
    the config and the values that the formulas here stand for.
    """

    method: str
    tensors: tuple[tuple[str, str], ...]
    options: Mapping[str, str] = field(default_factory=dict)
    mode: bool = False  # whether the method has a mode "published"
    pooling: str = "WGAP"
    encoder: str = "resnet50"
    layer: int = 5
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


ENCODER = ("backbone.", "encoder.")
LINEAR = (ENCODER, ("fc.", "classification_head.fc."))
GATED = tuple(  # ADL's gates count as blocks
    (f"backbone.layer{stage}.{block}.", f"encoder.layer{stage}.{block + 1}.")
    for stage, blocks in ((3, range(1, 6)), (4, range(1, 3)))
    for block in blocks
)
TOWER = "classification_head.acol_pooler.classifier"
ONLY: dict[str, tuple[Any, ...]] = {
    "num_classes": (7,),
    "dense_dims": ("", None),
    "model.scale_in": (1,),
    "model.support_background": (False,),
}
PLAIN_ATTENTION = {
    "model.apvit_attn_method": ("SUM_ABS_1",),
    "model.apvit_normalize_att": (False,),
    "model.apvit_apply_self_att": (False,),
}
METHODS = {
    "CAM": Release("cam", LINEAR),
    "WILDCAT": Release(
        "wildcat",
        (ENCODER, ("modalities.", "classification_head.to_modalities.")),
        {"maps": "wc_modalities", "kmax": "wc_kmax", "kmin": "wc_kmin", "alpha": "wc_alpha"},
        mode=True,
        pooling="WildCatCLHead",
    ),
    "GradCam": Release("gradcam", LINEAR),
    "GradCAMpp": Release("gradcampp", LINEAR, mode=True),
    "ACoL": Release(
        "acol",
        (ENCODER, ("tower_a.", f"{TOWER}_A."), ("tower_b.", f"{TOWER}_B.")),
        {"threshold": "acol_drop_threshold"},
        mode=True,
        pooling="ACOL",
    ),
    "PRM": Release(
        "prm",
        (ENCODER, ("conv.", "classification_head.conv.")),
        {"window": "prm_ks"},
        mode=True,
        pooling="PRM",
        only={"prm_st": (1,)},
    ),
    "ADL": Release(
        "adl",
        (*GATED, *LINEAR),
        {"drop_rate": "adl_drop_rate", "threshold": "adl_drop_threshold"},
        mode=True,
    ),
    "CutMIX": Release("cutmix", LINEAR, {"beta": "cutmix_beta", "prob": "cutmix_prob"}, layer=4),
    "LayerCAM": Release("layercam", LINEAR),
    "TSCAM": Release(
        "tscam",
        (("backbone.network.", ""), ("head.", "head.")),
        pooling="GAP",
        encoder="deit_tscam_small_patch16_224",
        layer=1,
    ),
    "APVIT": Release(
        "apvit",
        (
            ("backbone.", "extractor."),
            ("projection.", "vit.projs.0."),
            ("fc.", "classification_head.fc."),
            ("", "vit."),
        ),
        {"keep": "model.apvit_k", "rate": "model.apvit_r"},
        mode=True,
        pooling="NONE",
        encoder="apvit",
        layer=1,
        only=PLAIN_ATTENTION,
    ),
}


class _Loader(yaml.SafeLoader):
    """Plain values, and the class that the published code keeps nested settings in; any other tag is an error."""


def _munch(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("!munch.Munch", _munch)


class Arguments:
    """The arguments of the published code as one config_model.yaml holds them; `a.b` is a key inside `a`."""

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
        """Look up what a key's value stands for; raise UserError that lists what is known."""
        value = str(self[key])
        if value not in known:
            raise UserError(f"{self.path}: {key} is {value!r}, which is unknown here{suggestion(value, known)}")
        return known[value]


def release(arguments: Arguments) -> Release:
    """Return the method of a config; raise UserError if it or one of its settings has no formulas here."""
    found = arguments.choice("method", METHODS)
    parts = {"spatial_pooling": (found.pooling,), "model.encoder_name": (found.encoder,)}
    for key, values in {**ONLY, **parts, **found.only}.items():
        if arguments[key] not in values:
            what = f"{key} is {arguments[key]!r}; only {values[0]!r} can be imported for {arguments['method']}"
            raise UserError(f"{arguments.path}: {what}")
    return found


def card(arguments: Arguments, data: Path) -> Card:
    """Write the card of a released run; `data` is the folder of the prepared dataset, {dataset} in it its name.

    The card says what the published training did; the network needs no file to start from.
    """
    found, dataset = release(arguments), arguments.choice("dataset", DATASETS)
    values = {
        "dataset": dataset,
        "method": found.method,
        "variant": "au" if arguments["align_atten_to_heatmap"] else "plain",
        "seed": arguments["MYSEED"],
        "protocol": "paper",
        "data": {"folder": str(data).replace("{dataset}", dataset)},
        "heatmap": {"codebook": "paper_code", "geometry": "published"},
        "model": _model(arguments, found),
        "training": _training(arguments, found),
        "guidance": _guidance(arguments, found),
    }
    try:
        made = Card.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{arguments.path}: {explain(error)}") from None
    check_model(made, key=str(arguments.path))
    return made


def _model(arguments: Arguments, found: Release) -> dict[str, Any]:
    resnet = "resnet50" if arguments["model.large_maps"] else "resnet50_small_maps"
    mode = {"mode": "published"} if found.mode else {}
    return {
        "backbone": {"tscam": "deit_small", "apvit": "ir50"}.get(found.method, resnet),
        "init": "none",
        "image_size": 112 if found.method == "apvit" else arguments["crop_size"],
        "normalisation": arguments.choice("model.encoder_weights", NORMALISATIONS),
        "options": mode | {option: arguments[key] for option, key in found.options.items()},
    }


def _training(arguments: Arguments, found: Release) -> dict[str, Any]:
    transformer = found.layer == 1  # these have one group of parameters
    return {
        "epochs": arguments["max_epochs"],
        "batch_size": arguments["batch_size"],
        "evaluation_batch_size": arguments["eval_batch_size"],
        "learning_rate": arguments["optimizer.opt__lr"],
        "head_lr_ratio": 1.0 if transformer else arguments["optimizer.opt__lr_classifier_ratio"],
        "momentum": arguments["optimizer.opt__momentum"],
        "nesterov": arguments["optimizer.opt__nesterov"],
        "weight_decay": arguments["optimizer.opt__weight_decay"],
        "step_size": arguments["optimizer.opt__step_size"],
        "gamma": arguments["optimizer.opt__gamma"],
        "augmentation": "published",
        "amp": "fp16" if arguments["amp"] else "off",
        "clip_norm": arguments["optimizer.opt__clipgrad"],
    }


def _guidance(arguments: Arguments, found: Release) -> dict[str, Any]:
    start = "align_atten_to_heatmap"
    aligned = arguments[start]
    return {
        "weight": arguments[f"{start}_lambda"] if aligned else 0.0,
        "layers": str(arguments[f"{start}_layers"]).split("-") if aligned else [found.layer],
        "reduction": "mean",
        "resize": "published",
    }


def tensor_name(found: Release, name: str) -> str:
    """Say how the published code calls one of our tensors."""
    ours, theirs = next(pair for pair in found.tensors if name.startswith(pair[0]))
    return theirs + name.removeprefix(ours)
