"""One workflow at a time writes to a results folder."""

import hashlib
import os
import sys
from pathlib import Path

from filelock import FileLock

from pipeline.storage.locks import lock

HELD: list[FileLock] = []  # a lock that nothing refers to is released


def hold(results: Path) -> None:
    """Lock a results folder until this process ends; exit with a one-line error if another process holds it.

    Snakemake's own lock outlives a killed call and then refuses the next one, so the profiles turn it off.
    """
    name = hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:16]
    path = Path(".snakemake", f"{name}.lock")
    path.parent.mkdir(exist_ok=True)
    holder = path.with_suffix(".pid")  # not in the locked file, which some versions of filelock empty
    held = lock(path)
    if held is None:
        other = holder.read_text() if holder.exists() else "?"
        sys.exit(f"error: another snakemake (process {other}) works on {results}; wait for its end, or end it")
    HELD.append(held)
    holder.write_text(str(os.getpid()))
