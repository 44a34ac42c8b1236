"""Finished blocks of a long computation, kept beside its output, so that a killed one continues where it was."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pipeline.errors import UserError
from pipeline.storage import shards
from pipeline.storage.shards import Columns


def compute_blocks(out: Path, key: str, starts: Iterable[int], compute: Callable[[int], Columns]) -> Columns:
    """Compute the rows of each block, or read those that an interrupted call has stored; return all rows.

    Blocks lie in a hidden folder beside `out` until `remove_blocks`. `key` says what they depend on: blocks of another
    key, and damaged ones, are computed again.
    """
    folder, parts = _folder(out), []
    for start in starts:
        path = folder / f"{start}.h5"
        part = _stored(path, key)
        if part is None:
            part = compute(start)
            shards.write(path, part, key=key)
        parts.append(part)
    return shards.concatenate(parts)


def remove_blocks(out: Path) -> None:
    """Remove the blocks of an output that is complete."""
    shutil.rmtree(_folder(out), ignore_errors=True)


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.blocks")


def _stored(path: Path, key: str) -> Columns | None:
    if not path.is_file():
        return None
    try:
        shard = shards.Shard(path)
    except UserError:  # damaged; it was moved aside
        return None
    if shard.attributes.get("key") != key:
        return None
    return {name: np.array(values) for name, values in shard.columns().items()}  # copies: the file will be removed
