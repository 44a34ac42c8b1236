"""Which networks timm has, read from its files: importing it takes seconds, and torch."""

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import UserError

# A function that makes a network, or an entry of the tables of old names.
NAMED = re.compile(r"""^@register_model\s+def (\w+)|^\s+['"](\w+)['"]\s*:\s*['"]\w+['".]""", re.MULTILINE)


@cache
def networks() -> frozenset[str]:
    """List timm's networks by name, without the tags of weights; none if timm is not installed here."""
    spec = find_spec("timm")
    files = Path(spec.origin).parent.glob("models/*.py") if spec and spec.origin else ()
    return frozenset(name for path in files for pair in NAMED.findall(path.read_text("utf-8")) for name in pair if name)


def check_network(name: str, key: str) -> None:
    """Raise UserError that names the config key and similar networks if timm has none of this name."""
    known, wanted = networks(), name.partition(".")[0]
    if known and wanted not in known:
        close = [f"timm/{one}" for one in difflib.get_close_matches(wanted, sorted(known), n=3)]
        hint = f" (did you mean {', '.join(close)}?)" if close else ""
        raise UserError(f"{key}: timm has no network {wanted!r}{hint}; see timm.list_models()")
