"""One workflow at a time writes to a results folder."""

import fcntl
import hashlib
import os
import sys
from pathlib import Path


def hold(results: Path) -> None:
    """Keep a results folder for this process until it ends, however it ends; end with one line if another one has it.

    Snakemake's own lock outlives a call that was killed, and then refuses the next one; the profiles turn it off.
    """
    name = hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:16]
    path = Path(".snakemake", f"{name}.lock")
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, 20).decode() or "?"
        sys.exit(f"error: another snakemake (process {other}) works on {results}; wait for its end, or end it")
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())  # and stays open until the process ends
