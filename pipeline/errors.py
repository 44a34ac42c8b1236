"""How a command starts and ends: UserError for what the user can fix, and what the system refuses."""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable

from au_guidance.tables import TableError

# Reasons of a disk or its owner to refuse; libraries wrap these in errors of their own.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
END_WITH_PARENT = "END_WITH_PARENT"
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class UserError(Exception):
    """An error that the user can fix; the message is one line that names the file or key and the remedy.

    `details` may follow on lines of their own, such as the layout of a dataset.
    """

    def __init__(self, message: str, details: str = "") -> None:
        line = " ".join(message.splitlines())  # what a message quotes from a file may hold line breaks
        super().__init__(f"{line}\n{details}" if details else line)


def refusal(error: BaseException | None) -> str | None:
    """Return why the system refused to read or write, if that caused an error; None for other errors."""
    while error is not None:
        number = getattr(error, "errno", None)
        for code in REFUSALS:
            if number == code or (not isinstance(error, OSError) and os.strerror(code) in str(error)):
                return os.strerror(code)
        error = error.__context__
    return None


def run(main: Callable[[], None]) -> None:
    """Call a command's `main`; print a UserError, or a refusal of the system, as one line on stderr and exit with 1.

    A job of the workflow (END_WITH_PARENT in the environment) gets SIGTERM when Snakemake dies, on Linux.
    """
    if os.environ.pop(END_WITH_PARENT, "") and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        main()
    except (UserError, TableError) as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if refusal(error) is None or not error.filename:
            raise
        sys.exit(f"error: {error.filename} cannot be read or written ({refusal(error)}); free space or set permissions")
