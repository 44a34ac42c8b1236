"""The training of one run: epochs of stochastic gradient descent, validation, the best epoch kept."""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import UserError
from train import checkpoint, state
from train.average import Average
from train.batches import EvaluationBatches, TrainingBatches
from train.compiled import Compiled
from train.config import Card, Training
from train.data import Prepared, Rows, part_rows
from train.device import autocast, claim, precision
from train.losses import au_loss
from train.method import Batch, Method, build
from train.progress import Progress, Row, write_history

LOWEST_RATE = 1e-7
WARM_UP = 0.15  # share of the training
CHECKED_EVERY = 20  # steps between two looks at the losses: each look makes a GPU wait


def train(card: Card, out: Path) -> None:
    """Train a run and write `checkpoint.safetensors` (best epoch), `last.safetensors` and `history.csv` to `out`.

    A run that was killed continues after its last epoch. Raises UserError on missing data or weights, and with the ids
    of the images when a loss is not finite.
    """
    with state.hold(out) as (folder, waited), claim() as device:
        prepared = Prepared(card.data.folder, card.heatmap)
        if waited and checkpoint.made_by(out / "checkpoint.safetensors", card, prepared):
            print(f"the other process has finished this run: {out}", flush=True)
            return
        trainer = Trainer(card, prepared, device, folder)
        steps = math.ceil(len(trainer.train_rows) / card.training.batch_size)
        with closing(Progress(card, steps, out, done=len(trainer.history))) as progress:
            trainer.run(progress)
        write_history(out / "history.csv", trainer.history)
        last, best = trainer.result.state_dict(), trainer.best
        checkpoint.save(out / "last.safetensors", last, card, prepared, trainer.scores(len(trainer.history)))
        checkpoint.save(out / "checkpoint.safetensors", best["tensors"], card, prepared, trainer.scores(best["epoch"]))


class Trainer:
    """Network, optimiser and history of one run; `folder` holds its state between epochs."""

    def __init__(self, card: Card, prepared: Prepared, device: torch.device, folder: Path) -> None:
        self.card, self.prepared, self.device, self.folder = card, prepared, device, folder
        self.train_rows = part_rows(prepared, card, "train")
        self.validation_rows = part_rows(prepared, card, "validation")
        kind = precision(card.training.amp, device)
        unreadable = int((~prepared.readable).sum())
        print(
            f"{len(self.train_rows)} faces train, {len(self.validation_rows)} validate (protocol {card.protocol}), "
            f"{unreadable} of {len(prepared.ids)} are unreadable and left out; device {device}, "
            f"{str(kind).removeprefix('torch.')}",
            flush=True,
        )
        torch.manual_seed(card.seed)
        torch.backends.cudnn.benchmark = True
        saved = state.load(folder, self._key())
        self.method = build(card, initialise=saved is None).to(device).to(memory_format=torch.channels_last)
        self.forward = Compiled(self.method) if card.training.compile else self.method
        self.average = Average(self.method, card.training.averaging) if card.training.averaging else None
        # torch's fused step does not skip what overflowed on a CPU
        self.optimiser = _optimiser(self.method, card, fused=device.type == "cuda" or kind != torch.float16)
        self.scaler = torch.amp.GradScaler(device.type, enabled=kind == torch.float16)
        self.history: list[Row] = []
        self.best: dict[str, Any] = {"accuracy": -1.0, "epoch": 0, "tensors": {}}
        if saved:
            self._restore(saved)
        self.train_batches = TrainingBatches(prepared, card, self.train_rows, device)
        self.validation_batches = EvaluationBatches(prepared, card, self.validation_rows, device)
        print(
            f"training faces {self.train_batches.faces}, validation faces {self.validation_batches.faces}", flush=True
        )

    def run(self, progress: Progress) -> None:
        """Train the epochs that are left; save the state after each."""
        training = self.card.training
        for epoch in range(len(self.history), training.epochs):
            started = time.monotonic()
            means = self._epoch(epoch, progress)
            row = Row(epoch=epoch + 1, learning_rate=self.optimiser.param_groups[0]["lr"], **means)
            row.validation_accuracy = self.validate()
            row.seconds = time.monotonic() - started
            self.history.append(row)
            # Strictly better: of equal epochs the first is kept (the published code kept the last one).
            if row.validation_accuracy > self.best["accuracy"]:
                tensors = {name: tensor.cpu().clone() for name, tensor in self.result.state_dict().items()}
                self.best = {"accuracy": row.validation_accuracy, "epoch": epoch + 1, "tensors": tensors}
            self._save()
            progress.epoch(row, best=self.best["epoch"])

    def scores(self, epoch: int) -> dict[str, Any]:
        """Return what is known of an epoch."""
        return {
            "epoch": epoch,
            "validation_accuracy": self.history[epoch - 1].validation_accuracy,
            "best_epoch": self.best["epoch"],
            "epochs": len(self.history),
            "protocol": self.card.protocol,
        }

    @property
    def result(self) -> Method:
        """What the training is for: the running mean of the network, or the network itself."""
        return self.average.method if self.average else self.method

    @torch.inference_mode()
    def validate(self) -> float:
        """Return the accuracy on the validation faces."""
        result = self.result.eval()
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for images, classes in self.validation_batches:
            with autocast(self.card.training.amp, self.device):
                logits = result(images).logits
            correct += (logits.argmax(1) == classes).sum()
        return correct.item() / len(self.validation_rows)

    def _epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        """Train one epoch; return the means over its faces: loss, classification_loss, au_loss, train_accuracy."""
        seed = int(np.random.SeedSequence([self.card.seed % 2**32, epoch]).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout and the like need no stored state to continue the same way
        generator = torch.Generator().manual_seed(seed)
        self.method.train()
        total = torch.zeros(4, dtype=torch.float64)
        waiting: list[tuple[Tensor, Rows]] = []
        steps = len(self.train_batches)
        for number, (batch, rows) in enumerate(self.train_batches.epoch(epoch), start=1):
            self._set_rates(epoch + (number - 1) / steps)
            waiting.append((self._step(batch, generator), rows))
            progress.step()
            if number % CHECKED_EVERY == 0 or number == steps:
                total += self._sums(waiting)
                waiting.clear()
                progress.show(epoch + 1, self._means(total))
        return self._means(total)

    def _step(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Do one step; return mean classification loss, mean AU loss, correct faces and faces, on the device."""
        guidance = self.card.guidance
        truth = batch.target.argmax(1)
        batch = self.method.augment(batch, generator)
        with autocast(self.card.training.amp, self.device):
            output = self.forward(batch.images, batch.target)
            classification = self.method.classification_loss(output, batch.target)
        aligned = torch.zeros_like(classification)
        if guidance.weight > 0:
            aligned = au_loss(
                output.features, batch, guidance.layers, reduction=guidance.reduction, resize=guidance.resize
            )
        self._descend(classification + guidance.weight * aligned)
        if self.average:
            self.average.follow(self.method)
        correct = (output.logits.argmax(1) == truth).sum()
        count = torch.full_like(classification, len(truth))
        return torch.stack([classification.detach(), aligned.detach(), correct.to(classification), count])

    def _descend(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.card.training.clip_norm > 0:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.card.training.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _sums(self, steps: Sequence[tuple[Tensor, Rows]]) -> Tensor:
        """Add up steps weighted by their faces; raise with the ids of the first batch whose loss is not finite."""
        values = torch.stack([step for step, _ in steps]).double().cpu()
        broken = (~torch.isfinite(values).all(1)).nonzero().flatten().tolist()
        if broken:
            ids = ", ".join(self.prepared.ids[row] for row in steps[broken[0]][1].tolist())
            raise UserError(f"the loss is not finite: try a lower training.learning_rate; images of this batch: {ids}")
        return torch.cat([(values[:, :2] * values[:, 3:]).sum(0), values[:, 2:].sum(0)])

    def _means(self, total: Tensor) -> dict[str, float]:
        classification, aligned, accuracy = (total[:3] / total[3]).tolist()
        loss = classification + self.card.guidance.weight * aligned
        return {"loss": loss, "classification_loss": classification, "au_loss": aligned, "train_accuracy": accuracy}

    def _set_rates(self, epoch: float) -> None:
        """Set the learning rates at a time of the training, in epochs: lr = max(lr0 * factor, 1e-7)."""
        factor = rate_factor(self.card.training, epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = max(group["initial"] * factor, LOWEST_RATE)

    def _key(self) -> str:
        return f"{self.card.digest()}-{self.prepared.digest}"

    def _save(self) -> None:
        content = {
            "key": self._key(),
            "method": self.method.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [vars(row) for row in self.history],
            "best": self.best,
        }
        state.save(self.folder, content)
        write_history(self.folder / "history.csv", self.history)

    def _restore(self, content: dict[str, Any]) -> None:
        self.method.load_state_dict(content["method"])
        if self.average:
            self.average.load_state_dict(content["average"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.scaler.load_state_dict(content["scaler"])
        self.history = [Row(**row) for row in content["history"]]
        self.best = content["best"]
        print(f"continuing after epoch {len(self.history)}", flush=True)


def rate_factor(training: Training, epoch: float) -> float:
    """Return the learning rate at a time in epochs, relative to the initial one.

    step: gamma^(epoch // step_size). cosine: t / 0.15 up to t = epoch / epochs = 0.15, then half a cosine down to 0.
    """
    if training.schedule == "step":
        return training.gamma ** (int(epoch) // training.step_size)
    share = epoch / training.epochs
    if share < WARM_UP:
        return share / WARM_UP
    return (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))) / 2


def _optimiser(method: Method, card: Card, *, fused: bool) -> torch.optim.SGD:
    training = card.training
    head = method.head_parameters()
    known = {id(parameter) for parameter in head}
    body = [parameter for parameter in method.parameters() if id(parameter) not in known]
    rate = training.learning_rate
    groups = [{"params": body, "initial": rate}, {"params": head, "initial": rate * training.head_lr_ratio}]
    return torch.optim.SGD(
        groups,
        lr=rate,
        momentum=training.momentum,
        nesterov=training.nesterov and training.momentum > 0,
        weight_decay=training.weight_decay,
        fused=fused,
    )
