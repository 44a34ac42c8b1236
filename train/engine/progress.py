"""Progress of a training: a bar with ETA on a terminal, a line per epoch, history.csv and TensorBoard."""

import csv
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.storage.files import atomic_write
from train.card.schema import Card


@dataclass
class EpochRow:
    """One epoch: means over its training faces, accuracy on the validation faces, rate of the first group, wall time.

    `loss` is classification_loss + lambda * au_loss; `au_loss` is 0 in plain training, which does not compute it.
    """

    epoch: int
    loss: float
    classification_loss: float
    au_loss: float
    train_accuracy: float
    learning_rate: float
    validation_accuracy: float = float("nan")
    seconds: float = float("nan")


class Progress:
    """Shows the `steps` of every epoch; `done` epochs and `step` steps were made by an earlier process."""

    def __init__(
        self, card: Card, steps: int, out: Path, *, done: int = 0, step: int = 0, silent: bool = False
    ) -> None:
        epochs, start = card.training.epochs, done * steps + step
        shown = sys.stderr.isatty() and not silent
        self.bar = tqdm(total=epochs * steps, initial=start, unit="step", disable=not shown, dynamic_ncols=True)
        self.epochs, self.first, self.started, self.silent = epochs, done + step / steps, time.monotonic(), silent
        self.board = _tensorboard(out / "tensorboard") if card.training.tensorboard and not silent else None

    def close(self) -> None:
        """Leave the terminal and the TensorBoard files tidy."""
        self.bar.close()
        if self.board:
            self.board.close()

    def step(self) -> None:
        """Count a step."""
        self.bar.update()

    def show(self, epoch: int, means: dict[str, float]) -> None:
        """Put the loss terms and the accuracy of the running epoch on the bar."""
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        short = {name.removesuffix("_loss").removeprefix("train_"): f"{value:.3f}" for name, value in means.items()}
        self.bar.set_postfix(short)

    def epoch(self, row: EpochRow, best: int) -> None:
        """Print the line of a finished epoch."""
        if self.silent:
            return
        spent = time.monotonic() - self.started
        made = row.epoch - self.first  # nothing where the earlier process stopped before it could validate
        left = spent / made * (self.epochs - row.epoch) if made else 0
        line = (
            f"epoch {row.epoch}/{self.epochs}: loss {row.loss:.4f} (classification {row.classification_loss:.4f}, "
            f"au {row.au_loss:.4f}), train {row.train_accuracy:.4f}, validation {row.validation_accuracy:.4f} "
            f"(best: epoch {best}), lr {row.learning_rate:.3g}, {row.seconds:.1f} s, "
            f"{timedelta(seconds=round(left))} left"
        )
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
        for name, value in vars(row).items():
            if self.board and name != "epoch":
                self.board.add_scalar(name, value, row.epoch)


def write_history(path: Path, rows: Iterable[EpochRow]) -> None:
    """Write one CSV line per epoch, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EpochRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(vars(row) for row in rows)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an optional package)
    except ImportError:
        absent = "training.tensorboard: the package tensorboard is not installed; install it or say false"
        raise UserError(absent) from None
    return SummaryWriter(str(folder))
