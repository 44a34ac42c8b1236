"""Which backbones there are, as data: their files and layers, and the names of timm's networks; no torch here.

A new backbone is a file in this folder and a line in BACKBONES.
"""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UserError


class Entry(NamedTuple):
    """The file in `train/backbones` whose `build_network(name, path, image_size)` makes a backbone, and its layers."""

    module: str
    layers: Sequence[int]


ALL = (1, 2, 3, 4, 5)
BACKBONES = {
    "resnet18": Entry("resnet", ALL),
    "resnet18_half": Entry("resnet", ALL),
    "resnet18_quarter": Entry("resnet", ALL),
    "resnet10_half_unpooled": Entry("resnet", ALL),
    "resnet18_quarter_unpooled": Entry("resnet", ALL),
    "resnet50": Entry("resnet", ALL),
    "resnet50_small_maps": Entry("resnet", ALL),
    "deit_small": Entry("vit", (1, 2)),
    "deit_micro": Entry("vit", (1, 2)),
    "ir50": Entry("ir50", (1,)),
    "ir50_micro": Entry("ir50", (1,)),
}
TIMM = "timm/<name>"  # any network of timm; its layers are known when it is built

# A function of timm that makes a network, or an entry of its tables of old names.
NAMED = re.compile(r"""^@register_model\s+def (\w+)|^\s+['"](\w+)['"]\s*:\s*['"]\w+['".]""", re.MULTILINE)


@cache
def timm_networks() -> frozenset[str]:
    """List timm's networks by name, without the tags of weights; none if timm is not installed here.

    They are read from its files: importing it takes seconds, and torch.
    """
    spec = find_spec("timm")
    files = Path(spec.origin).parent.glob("models/*.py") if spec and spec.origin else ()
    return frozenset(name for path in files for pair in NAMED.findall(path.read_text("utf-8")) for name in pair if name)


def check_timm_network(name: str, key: str) -> None:
    """Raise UserError that names the config key and similar networks if timm has none of this name."""
    known, wanted = timm_networks(), name.partition(".")[0]
    if known and wanted not in known:
        close = [f"timm/{one}" for one in difflib.get_close_matches(wanted, sorted(known), n=3)]
        hint = f" (did you mean {', '.join(close)}?)" if close else ""
        raise UserError(f"{key}: timm has no network {wanted!r}{hint}; see timm.list_models()")
