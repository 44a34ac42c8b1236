"""A training in progress: the folder `state/` of a run, with its lock and the state to continue from.

Nothing here is an output of a Snakemake rule, because Snakemake deletes the outputs of a job that fails.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from pipeline.storage.files import append_checksum, atomic_write, set_aside, verify_checksum
from pipeline.storage.locks import lock

LAST = "last.pt"
PREVIOUS = "previous.pt"


@contextmanager
def hold(out: Path) -> Iterator[bool]:
    """Lock `out/state`, so that one process trains in `out`; yield whether it had to wait for another one.

    The folder is deleted after success and kept after any failure.
    """
    folder = out / "state"
    held, waited = _lock(folder)
    try:
        yield waited
        shutil.rmtree(folder)
    finally:
        held.release()


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write a state of tensors and plain values, whole or not at all; keep the previous one in case it is damaged."""
    path = folder / LAST
    with atomic_write(path) as temporary:
        with temporary.open("wb") as file:
            torch.save(content, file)
        append_checksum(temporary)
        if path.exists():
            path.replace(folder / PREVIOUS)


def load(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the newest undamaged state that was saved under `key`; set aside what is damaged or has another key."""
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        if verify_checksum(path) is None:
            print(f"{path} is damaged: set aside as {set_aside(path).name}, an earlier state is used", flush=True)
            continue
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content["key"] == key:
            return content
        path.replace(folder / f"{content['key'][:12]}.pt")
        print(f"{path} belongs to another card or to other data: set aside, training starts anew", flush=True)
    return None


def _lock(folder: Path) -> tuple[FileLock, bool]:
    waited = False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lock"
        try:
            held = lock(path)
            if held is None:
                waited = True
                print(f"another process trains in {folder.parent}; waiting for its end", flush=True)
                held = lock(path, wait=True)
        except FileNotFoundError:  # the other process finished and deleted the folder
            continue
        assert held is not None
        if path.exists():
            return held, waited
        held.release()
