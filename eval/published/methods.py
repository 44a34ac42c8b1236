"""The methods of the authors' released checkpoints: names of options and tensors in their code and here.

A released folder holds `model.pt`, tensors only, and `config_model.yaml`, all arguments of the authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReleasedMethod:
    """One method of the authors' code: its name here, and what its folders, config and tensors are called there.

    `options`: our option -> key of their config. `tensors`: our prefix -> their prefix; the first that matches counts.
    `layer`: the layer that their evaluation uses if the config aligns none. `pooling` and `encoder`: parts of the
    folder's name, and required values in its config. `fixed`: further keys of the config -> the values supported here.
    """

    name: str
    tensors: tuple[tuple[str, str], ...]
    options: Mapping[str, str] = field(default_factory=dict)
    mode: bool = False  # whether the method has an option mode, then "published"
    pooling: str = "WGAP"
    encoder: str = "resnet50"
    layer: int = 5
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


ENCODER = ("backbone.", "encoder.")
LINEAR = (ENCODER, ("fc.", "classification_head.fc."))
GATED = tuple(  # ADL's gates are counted as blocks
    (f"backbone.layer{stage}.{block}.", f"encoder.layer{stage}.{block + 1}.")
    for stage, blocks in ((3, range(1, 6)), (4, range(1, 3)))
    for block in blocks
)
TOWER = "classification_head.acol_pooler.classifier"
FIXED: dict[str, tuple[Any, ...]] = {
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
    "CAM": ReleasedMethod("cam", LINEAR),
    "WILDCAT": ReleasedMethod(
        "wildcat",
        (ENCODER, ("modalities.", "classification_head.to_modalities.")),
        {"maps": "wc_modalities", "kmax": "wc_kmax", "kmin": "wc_kmin", "alpha": "wc_alpha"},
        mode=True,
        pooling="WildCatCLHead",
    ),
    "GradCam": ReleasedMethod("gradcam", LINEAR),
    "GradCAMpp": ReleasedMethod("gradcampp", LINEAR, mode=True),
    "ACoL": ReleasedMethod(
        "acol",
        (ENCODER, ("tower_a.", f"{TOWER}_A."), ("tower_b.", f"{TOWER}_B.")),
        {"threshold": "acol_drop_threshold"},
        mode=True,
        pooling="ACOL",
    ),
    "PRM": ReleasedMethod(
        "prm",
        (ENCODER, ("conv.", "classification_head.conv.")),
        {"window": "prm_ks"},
        mode=True,
        pooling="PRM",
        fixed={"prm_st": (1,)},
    ),
    "ADL": ReleasedMethod(
        "adl", (*GATED, *LINEAR), {"drop_rate": "adl_drop_rate", "threshold": "adl_drop_threshold"}, mode=True
    ),
    "CutMIX": ReleasedMethod("cutmix", LINEAR, {"beta": "cutmix_beta", "prob": "cutmix_prob"}, layer=4),
    "LayerCAM": ReleasedMethod("layercam", LINEAR),
    "TSCAM": ReleasedMethod(
        "tscam",
        (("backbone.network.", ""), ("head.", "head.")),
        pooling="GAP",
        encoder="deit_tscam_small_patch16_224",
        layer=1,
    ),
    "APVIT": ReleasedMethod(
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
        fixed=PLAIN_ATTENTION,
    ),
}


def tensor_name(method: ReleasedMethod, name: str) -> str:
    """Return the name in the authors' code of one of our tensors."""
    ours, theirs = next(pair for pair in method.tensors if name.startswith(pair[0]))
    return theirs + name.removeprefix(ours)
