"""Every method of the family, small enough for a test; a new method is one line in FAMILY."""

import torch

from train.card.options import method_options

VIT = {"model__backbone": "deit_micro", "guidance__layers": (1,)}


TOKENS = {"model__backbone": "ir50_micro", "guidance__layers": (1,)}


FAMILY = {
    "acol": {"model__options": {"width": 32}},
    "adl": {"model__options": {"drop_rate": 0.0}},  # at random weights its drop mask can leave nothing
    "apvit": {**TOKENS, "model__options": {"dim": 48, "depth": 4, "heads": 4, "keep": 40}},
    "cam": {},
    "cutmix": {},
    "gradcam": {},
    "gradcampp": {},
    "layercam": {},
    "prm": {},
    "tscam": VIT,
    "wildcat": {"model__options": {"maps": 3}},
}


MODES = ("original", "published")


RUNS = [(name, mode) for name in FAMILY for mode in MODES if mode == MODES[0] or "mode" in method_options(name)]


def noisy(method):
    """Give every parameter that starts at zero a value, so that it passes gradients on."""
    with torch.no_grad():
        for parameter in method.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return method
