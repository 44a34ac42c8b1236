"""A training in progress: the folder `state/` of a run, with its lock and the state to continue from; and its end.

Nothing here is an output of a Snakemake rule, because Snakemake deletes the outputs of a job that fails.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch

from pipeline.storage.files import append_checksum, atomic_write, lock, set_aside, verify_checksum

LAST = "last.pt"
PREVIOUS = "previous.pt"
EXIT_RETRY = 75  # EX_TEMPFAIL of sysexits.h: not done, do it again


class Stop:
    """Whether somebody asked this training to end: SIGTERM (pre-emption, time limit), SIGUSR1, Ctrl-C.

    While `deferred`, the training itself ends as soon as it can continue later; else, or when asked twice, at once.
    """

    def __init__(self) -> None:
        self.asked = self.deferred = False

    def listen(self) -> "Stop":
        """Heed the signals from now on."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def exit_for_requeue(self) -> NoReturn:
        """End the process with the code that says that the work is to be continued."""
        print("asked to stop: the same command continues this training", flush=True)
        sys.exit(EXIT_RETRY)

    def _on_signal(self, number: int, frame: Any) -> None:
        del number, frame
        again, self.asked = self.asked, True
        if again or not self.deferred:
            self.exit_for_requeue()


@contextmanager
def hold(out: Path) -> Iterator[bool]:
    """Keep `out/state` for this process, which alone trains in `out`; yield whether it had to wait for another one.

    The folder is deleted after success and kept after any failure.
    """
    folder = out / "state"
    descriptor, waited = _lock(folder)
    try:
        yield waited
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def save(folder: Path, content: dict[str, Any]) -> None:
    """Write a state, whole or not at all: tensors and plain values; the one before it stays as a second way out."""
    path = folder / LAST
    with atomic_write(path) as temporary:
        with temporary.open("wb") as file:
            torch.save(content, file)
        append_checksum(temporary)
        if path.exists():
            path.replace(folder / PREVIOUS)


def load(folder: Path, key: str) -> dict[str, Any] | None:
    """Read the newest undamaged state that was saved under `key`; what is damaged or of another key is set aside."""
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        if verify_checksum(path) is None:
            print(f"{path} is damaged: set aside as {set_aside(path).name}, an earlier state is used", flush=True)
            continue
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["key"] == key:
            return content
        path.replace(folder / f"{content['key'][:12]}.pt")
        print(f"{path} belongs to another card or to other data: set aside, training starts anew", flush=True)
    return None


def _lock(folder: Path) -> tuple[int, bool]:
    waited = False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lock"
        descriptor = lock(path)
        if descriptor is None:
            waited = True
            print(f"another process trains in {folder.parent}; waiting for its end", flush=True)
            descriptor = lock(path, wait=True)
        assert descriptor is not None
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor, waited
        os.close(descriptor)  # the other process finished and took the folder away
