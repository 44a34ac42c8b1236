"""Folders in the form of the authors' released checkpoints, with weights that follow from a formula."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from eval.published.config import ReleasedConfig, card_of, released_method
from eval.published.methods import METHODS, tensor_name
from tests.support import formula
from train.methods.base import build_method

ARGUMENTS = """
MYSEED: 3
acol_drop_threshold: 0.1
adl_drop_rate: 0.4
adl_drop_threshold: 0.1
align_atten_to_heatmap: true
align_atten_to_heatmap_lambda: 9.0
align_atten_to_heatmap_layers: '5'
amp: true
batch_size: 32
best_epoch: 0
crop_size: 224
cutmix_beta: 1.0
cutmix_prob: 1.0
data_paths: !munch.Munch {test: /data/RAF-DB}
dataset: RAF-DB
dense_dims: ''
eval_batch_size: 64
max_epochs: 100
method: CAM
model: !munch.Munch
  apvit_apply_self_att: false
  apvit_attn_method: SUM_ABS_1
  apvit_k: 160
  apvit_normalize_att: false
  apvit_r: 0.9
  encoder_name: resnet50
  encoder_weights: imagenet
  large_maps: true
  scale_in: 1.0
  support_background: false
num_classes: 7
optimizer:
  opt__clipgrad: 0.0
  opt__gamma: 0.1
  opt__lr: 0.002
  opt__lr_classifier_ratio: 10.0
  opt__momentum: 0.9
  opt__nesterov: true
  opt__step_size: 40
  opt__weight_decay: 0.0005
prm_ks: 3
prm_st: 1
spatial_pooling: WGAP
t0: 2023-11-20 17:53:29.568712
wc_alpha: 0.6
wc_kmax: 0.5
wc_kmin: 0.1
wc_modalities: 5
"""


def write_config(folder, method, **changes):
    """Write the config of a method; `changes` are texts to put after `key: ` instead.

    The layer aligned is the one that the stored answers are for.
    """
    text = ARGUMENTS
    known = METHODS.get(method, METHODS["CAM"])
    fitting = {
        "method": method,
        "spatial_pooling": known.pooling,
        "encoder_name": known.encoder,
        "align_atten_to_heatmap_layers": f"'{known.layer}'",
    }
    for key, value in {**fitting, **changes}.items():
        lines = [line for line in text.splitlines() if line.strip().startswith(f"{key}: ")]
        assert len(lines) == 1, key
        text = text.replace(lines[0], f"{lines[0].partition(':')[0]}: {value}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config_model.yaml").write_text(text)
    return folder


def published_shapes(folder):
    """Return the names of the published code for the tensors of a folder's method, and their shapes."""
    config = ReleasedConfig(folder / "config_model.yaml")
    tensors = build_method(card_of(config, Path("data")), initialise=False).state_dict()
    return {tensor_name(released_method(config), name): tuple(value.shape) for name, value in tensors.items()}


def write_model(folder):
    """Fill model.pt by the formula, in groups where the published code has them."""
    tensors = {
        name: torch.from_numpy(np.array(formula.tensor(name, shape)))
        for name, shape in published_shapes(folder).items()
    }
    groups = OrderedDict()
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, OrderedDict())[rest] = value
    flat = {"cls_token", "extractor"} & groups.keys()
    torch.save(tensors if flat else groups, folder / "model.pt")
