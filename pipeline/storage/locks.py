"""Locks between processes, which the operating system releases however their holder ends."""

import errno
import sys
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)  # what file systems without locks answer
POLL_SECONDS = 0.2


def lock(path: Path, *, wait: bool = False) -> FileLock | None:
    """Lock a file for this process and return the lock; None if another process holds it and `wait` is False.

    The file and its folder are made if need be, the file open to all users, and stay. The lock ends with `release`,
    with the last reference to it, or with the process. On a file system without locks a warning is printed once, and
    the returned lock keeps no one out. Raises OSError if the file cannot be opened.
    """
    held = FileLock(path, mode=0o666, poll_interval=POLL_SECONDS)
    try:
        held.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _warn(str(path.parent))
    return held


@cache
def _warn(folder: str) -> None:
    print(f"{folder} is on a file system without locks: start no second process on it", file=sys.stderr, flush=True)
