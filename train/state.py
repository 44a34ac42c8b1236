"""A training in progress: the folder `state/` of a run, with its lock and its last epoch to continue from.

Nothing here is an output of a Snakemake rule, because Snakemake deletes the outputs of a job that fails.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.files import whole

LAST = "last.pt"
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


@contextmanager
def hold(out: Path) -> Iterator[tuple[Path, bool]]:
    """Yield `out/state` while this process alone trains in `out`, and whether it had to wait for another one.

    The folder is deleted after success and kept after any failure.
    """
    folder = out / "state"
    descriptor, waited = _lock(folder)
    try:
        yield folder, waited
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write the state after an epoch, whole or not at all: tensors and plain values."""
    with whole(folder / LAST) as temporary:
        torch.save(content, temporary)


def load(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the last state if it was saved under `key`; a state of another card or of other data is set aside."""
    path = folder / LAST
    if not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["key"] == key:
        return content
    path.replace(folder / f"{content['key'][:12]}.pt")
    print(f"{path} belongs to another card or to other data: set aside, training starts anew", flush=True)
    return None


def end_with_parent() -> None:
    """Ask Linux to end this process when the one that started it dies, so that no training outlives Snakemake."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _lock(folder: Path) -> tuple[int, bool]:
    waited = False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print(f"another process trains in {folder.parent}; waiting for its end", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor, waited
        os.close(descriptor)  # the other process finished and took the folder away
