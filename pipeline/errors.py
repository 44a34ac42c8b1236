"""The one error that a user's input can cause, and how a command shows it."""

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend; the message is one line that names the file or key and what to do."""


def run(main: Callable[[], None]) -> None:
    """Call a command's `main`; print a UserError as one line on stderr and exit with 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
