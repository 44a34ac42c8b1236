"""Files of safetensors with a checksum of all their bytes, header and padding included.

The metadata are JSON texts. The SHA-256 is one of them, because nothing may follow the tensors; it is that of the file
with zeros in its place.
"""

import hashlib
import json
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from pipeline.storage.files import atomic_write

KEY = "sha256"
ZEROS = "0" * 64
PLACE = re.compile(rb'"sha256":"([0-9a-f]{64})"')


def write(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and metadata whole or not at all, with their checksum."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    texts = {name: json.dumps(value, sort_keys=True) for name, value in meta.items()}
    with atomic_write(path) as temporary:
        save_file(stored, temporary, {**texts, KEY: ZEROS})
        start, _, actual = _checksum(temporary)
        with temporary.open("rb+") as file:
            file.seek(start)
            file.write(actual)


def checksum_matches(path: Path) -> bool:
    """Say whether the checksum in a file is that of its content."""
    _, stored, actual = _checksum(path)
    return stored == actual


def _checksum(path: Path) -> tuple[int, bytes, bytes]:
    """Return where a file's checksum is stored, the one that stands there, and that of its content (hex)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = PLACE.search(content, 0, 8 + int.from_bytes(content[:8], "little"))
        start = place.start(1) if place else 0
        with memoryview(content) as view:
            digest = hashlib.sha256(view[:start])
            digest.update(ZEROS.encode())
            digest.update(view[start + len(ZEROS) :])
        return start, content[start : start + len(ZEROS)], digest.hexdigest().encode()
