"""How a training ends when it is asked to; no torch here."""

import signal
import sys
from types import FrameType
from typing import NoReturn

EXIT_RETRY = 75  # EX_TEMPFAIL of sysexits.h: the same command continues the work


class Stop:
    """Whether a signal asked this training to end: SIGTERM (pre-emption, time limit), SIGUSR1 or SIGINT (Ctrl-C).

    While `deferred`, the training ends itself as soon as it can be continued; otherwise, or when it is asked twice, it
    ends at once.
    """

    def __init__(self) -> None:
        self.asked = self.deferred = False

    def listen(self) -> "Stop":
        """Handle the signals from now on."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def exit_for_requeue(self) -> NoReturn:
        """End the process with the exit code that asks for a retry."""
        print("asked to stop: the same command continues this training", flush=True)
        sys.exit(EXIT_RETRY)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.deferred:
            self.exit_for_requeue()
