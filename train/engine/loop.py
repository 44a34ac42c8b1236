"""The training of one run: epochs of stochastic gradient descent, validation, the best epoch kept."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UserError
from train.card.schema import Card
from train.checkpoints import checkpoint
from train.data.batches import EvaluationBatches, TrainingBatches, step_seed
from train.data.prepared import Prepared, Rows, describe_validation, part_rows
from train.engine import resume
from train.engine.distributed import Processes
from train.engine.learner import Learner, set_rates
from train.engine.progress import EpochRow, Progress, write_history
from train.engine.signals import Stop
from train.engine.temperature import fit_temperature
from train.hardware import claim_several, precision, set_deterministic
from train.methods.base import coarse_maps

FORMAT = 2  # of the state
SAVE_MINUTES = 10.0  # between two states within an epoch
CHECKED_EVERY = 20  # steps between two checks of the losses: each check makes a GPU wait


def train(card: Card, out: Path, *, stop: Stop | None = None, save_minutes: float = SAVE_MINUTES) -> None:
    """Train a run and write `checkpoint.safetensors` (best epoch), `last.safetensors` and `history.csv` to `out`.

    A run that was killed continues where it was saved: after every epoch, after `save_minutes` in between, and when
    `stop` asks for its end. Raises UserError on missing data or weights, and with the ids of the images when a loss is
    not finite. Under torchrun several processes train together (see `train.engine.distributed`).
    """
    processes = Processes()
    with ExitStack() as stack:
        stack.callback(processes.close)
        waited = stack.enter_context(resume.hold(out)) if processes.is_main else False
        devices = stack.enter_context(claim_several(processes.size)) if processes.is_main else []
        device = processes.broadcast(devices)[processes.rank]
        prepared = Prepared(card.data.folder, card.heatmap)
        if processes.broadcast(waited and checkpoint.was_trained_by(out / "checkpoint.safetensors", card, prepared)):
            print(f"the other process has finished this run: {out}", flush=True)
            return
        trainer = Trainer(card, prepared, device, out / "state", processes=processes, stop=stop or Stop())
        trainer.save_seconds = 60 * save_minutes
        steps, done, silent = len(trainer.train_batches), len(trainer.history), not processes.is_main
        with closing(Progress(card, steps, out, done=done, step=trainer.step, silent=silent)) as progress:
            trainer.run(progress)
        if processes.is_main:
            trainer.write(out)
        processes.wait()


class Trainer:
    """Trains one run epoch by epoch; `folder` holds its state while it is not finished."""

    def __init__(
        self,
        card: Card,
        prepared: Prepared,
        device: torch.device,
        folder: Path,
        *,
        processes: Processes | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.card, self.prepared, self.device, self.folder = card, prepared, device, folder
        self.processes, self.stop = processes or Processes(), stop or Stop()
        self.train_rows = part_rows(prepared, card, "train")
        self.validation_rows = part_rows(prepared, card, "validation")
        self._print_faces()
        torch.manual_seed(card.seed)
        set_deterministic(card.training.deterministic)
        with self.processes.main_process_first():
            saved = resume.load(folder, self._key())
        self.learner = Learner(card, device, self.processes, saved)
        if warning := coarse_maps(self.learner.method, card.model):
            print(warning, flush=True)
        self.history: list[EpochRow] = []
        self.best: dict[str, Any] = {"accuracy": -1.0, "epoch": 0, "tensors": {}}
        # Of the running epoch: its steps so far, the sums over them, and its seconds in earlier processes.
        self.step, self.total, self.spent = 0, torch.zeros(4, dtype=torch.float64), 0.0
        self.looked = 0  # the step of the last validation within it
        self.save_seconds, self.saved_at, self.started = 60 * SAVE_MINUTES, time.monotonic(), time.monotonic()
        if saved:
            self._restore(saved)
        self.train_batches = TrainingBatches(prepared, card, self.train_rows, device)
        self.learner.class_weights = self.train_batches.class_weights
        self.validation_batches = EvaluationBatches(prepared, card, self.processes.share(self.validation_rows), device)
        faces = f"training faces {self.train_batches.faces}, validation faces {self.validation_batches.faces}"
        print(faces, flush=True)

    def _print_faces(self) -> None:
        unreadable = int((~self.prepared.readable).sum())
        kind = str(precision(self.card.training.amp, self.device)).removeprefix("torch.")
        selected = describe_validation(self.prepared, self.card)
        print(
            f"{len(self.train_rows)} faces train, {len(self.validation_rows)} validate (protocol {self.card.protocol})"
            f", {unreadable} of {len(self.prepared.ids)} are unreadable and left out; device {self.device}, {kind}\n"
            f"validation: {selected}",
            flush=True,
        )

    def run(self, progress: Progress) -> None:
        """Train the epochs that are left; save the state after each, and within them when due."""
        training, self.stop.deferred = self.card.training, True
        for epoch in range(len(self.history), training.epochs):
            self.started = time.monotonic() - self.spent
            means = self._epoch(epoch, progress)
            row = EpochRow(epoch=epoch + 1, learning_rate=self.learner.optimiser.param_groups[0]["lr"], **means)
            row.validation_accuracy = self.validate()
            row.seconds = time.monotonic() - self.started
            self.history.append(row)
            self._keep_if_best(row.validation_accuracy, epoch + 1)
            self.step, self.looked, self.spent = 0, 0, 0.0
            self.total.zero_()
            self._save()
            progress.epoch(row, best=self.best["epoch"])
        self.stop.deferred = False

    def _keep_if_best(self, accuracy: float, epoch: int) -> None:
        """Keep the network if it is strictly better: of equals the first is kept (the published code kept the last)."""
        if accuracy > self.best["accuracy"]:
            tensors = {name: tensor.cpu().clone() for name, tensor in self.learner.result.state_dict().items()}
            self.best = {"accuracy": accuracy, "epoch": epoch, "tensors": tensors}

    def _looks_after(self, step: int) -> bool:
        """Tell whether a step within an epoch is followed by a validation; the last one is in any case."""
        steps, looks = len(self.train_batches), self.card.training.looks_per_epoch
        return 0 < step < steps and step * looks // steps > (step - 1) * looks // steps

    def _look(self, epoch: int) -> None:
        """Validate within an epoch, unless this step has been validated."""
        if self.looked != self.step:
            self._keep_if_best(self.validate(), epoch + 1)
            self.looked = self.step
            self.learner.method.train()

    def write(self, out: Path) -> None:
        """Write the history and both checkpoints."""
        write_history(out / "history.csv", self.history)
        last = {name: tensor.cpu().clone() for name, tensor in self.learner.result.state_dict().items()}
        best, final = self.best, self.history[-1].validation_accuracy
        kept = (
            (last, len(self.history), final, "last"),
            (best["tensors"], best["epoch"], best["accuracy"], "checkpoint"),
        )
        for tensors, epoch, accuracy, name in kept:
            scores = {
                "epoch": epoch,
                "validation_accuracy": accuracy,
                "best_epoch": self.best["epoch"],
                "epochs": len(self.history),
                "protocol": self.card.protocol,
                "validation": describe_validation(self.prepared, self.card),
                "temperature": self.temperature(tensors),
            }
            checkpoint.save(out / f"{name}.safetensors", tensors, self.card, self.prepared, scores)

    @torch.inference_mode()
    def validate(self) -> float:
        """Return the accuracy on the validation faces, in single precision, as predictions are made."""
        result = self.learner.result.eval()
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for images, classes in self.validation_batches:
            if self.stop.asked and self.processes.size == 1:  # several processes may have different numbers of batches
                self._save()
                self.stop.exit_for_requeue()
            correct += (result(images).logits.argmax(1) == classes).sum()
        return self.processes.sum(correct.cpu()).item() / len(self.validation_rows)

    @torch.no_grad()
    def temperature(self, tensors: dict[str, Tensor]) -> float:
        """Return the temperature that calibrates the network with these tensors, fitted to all validation faces."""
        result = self.learner.result.eval()
        result.load_state_dict(tensors)
        batches = self.validation_batches
        if self.processes.size > 1:  # each process holds a part of them
            batches = EvaluationBatches(self.prepared, self.card, self.validation_rows, self.device)
        answers = [(result(images).logits.float().cpu(), classes.cpu()) for images, classes in batches]
        logits, classes = (torch.cat(parts).numpy() for parts in zip(*answers, strict=True))
        return fit_temperature(logits, classes)

    def _epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        """Train what is left of an epoch; return the means over its faces, of the two losses, their sum and accuracy.

        The numbers of a step depend on the seed, the epoch and the step only, so that it can continue anywhere.
        """
        self.learner.method.train()
        pending_losses: list[tuple[Tensor, Rows]] = []
        steps = len(self.train_batches)
        generator = torch.Generator()
        if self._looks_after(self.step):  # a signal may have cut it short
            self._look(epoch)
        for number, (batch, rows) in enumerate(self.train_batches.epoch(epoch, self.step), start=self.step + 1):
            set_rates(self.learner.optimiser, self.card.training, epoch + (number - 1) / steps)
            torch.manual_seed(generator.manual_seed(step_seed(self.card, epoch, number)).initial_seed())
            pending_losses.append((self.learner.step(batch, generator), rows))
            progress.step()
            late = time.monotonic() - self.saved_at >= self.save_seconds
            asked, due = self.processes.any_rank(self.stop.asked, late)
            look = self._looks_after(number)
            if asked or due or look or number % CHECKED_EVERY == 0 or number == steps:
                self.total += self._sums(pending_losses)
                if not self.learner.weights_are_finite():  # no broken state is saved
                    raise self._not_finite("weights are", rows)
                self.step = number
                pending_losses.clear()
                progress.show(epoch + 1, self._means())
            if asked or due:
                self._save()
            if asked:
                self.stop.exit_for_requeue()
            if look:
                self._look(epoch)
        return self._means()

    def _sums(self, steps: Sequence[tuple[Tensor, Rows]]) -> Tensor:
        """Add up steps weighted by their faces; raise with the ids of the first batch whose loss is not finite."""
        values = self.processes.sum(torch.stack([step for step, _ in steps]).double().cpu())
        broken = (~torch.isfinite(values).all(1)).nonzero().flatten().tolist()
        if broken:
            raise self._not_finite("loss is", steps[broken[0]][1])
        return torch.cat([(values[:, :2] * values[:, 3:]).sum(0), values[:, 2:].sum(0)])

    def _not_finite(self, what: str, rows: Rows) -> UserError:
        ids = ", ".join(self.prepared.ids[row] for row in rows.tolist())
        return UserError(f"the {what} not finite: try a lower training.learning_rate; images of this batch: {ids}")

    def _means(self) -> dict[str, float]:
        classification, aligned, accuracy = (self.total[:3] / self.total[3]).tolist()
        loss = classification + self.card.guidance.weight * aligned
        return {"loss": loss, "classification_loss": classification, "au_loss": aligned, "train_accuracy": accuracy}

    def _key(self) -> str:
        return f"{self.card.digest()}-{self.prepared.digest}-{FORMAT}"

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.processes.is_main:
            return
        content = {
            "key": self._key(),
            **self.learner.state_dict(),
            "history": [vars(row) for row in self.history],
            "best": self.best,
            "step": self.step,
            "looked": self.looked,
            "total": self.total,
            "spent": self.saved_at - self.started if self.step else 0.0,
        }
        resume.save(self.folder, content)
        write_history(self.folder / "history.csv", self.history)

    def _restore(self, content: dict[str, Any]) -> None:
        self.history = [EpochRow(**row) for row in content["history"]]
        self.best, self.step, self.total = content["best"], content["step"], content["total"]
        self.looked = content.get("looked", 0)  # states of earlier versions have none
        self.spent = content["spent"]
        within = f", {self.step} steps into the next" if self.step else ""
        print(f"continuing after epoch {len(self.history)}{within}", flush=True)
