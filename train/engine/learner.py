"""The network of a training, the running mean of its weights, its optimiser and learning rates, and one step."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from au_guidance.loss import au_loss
from train.card.schema import Card, Training
from train.engine.distributed import Processes
from train.hardware import autocast, precision
from train.methods.base import Batch, Method, Output, build_method

LOWEST_RATE = 1e-7
WARM_UP = 0.15  # share of the training


class Learner:
    """The network of a card, the running mean of its weights if the card asks for one, its optimiser and loss scaler.

    `state` is what `state_dict` of an earlier process gave, to continue from; without it the training begins with the
    weights that `model.init` names. `class_weights` (k,) weigh the classes in the classification loss.
    """

    class_weights: Tensor | None = None

    def __init__(self, card: Card, device: torch.device, processes: Processes, state: dict[str, Any] | None) -> None:
        self.card, self.device, self.processes, guide = card, device, processes, card.guidance
        self.au_loss = partial(au_loss, layers=guide.layers, reduction=guide.reduction, resize_mode=guide.resize)
        kind = precision(card.training.amp, device)
        self.method = build_method(card, initialise=state is None).to(device).to(memory_format=torch.channels_last)
        self.ema = EMA(self.method, card.training.averaging) if card.training.averaging else None
        # With a loss scaler, a CPU's fused step does not skip gradients that overflowed, and a GPU's leaves momentum
        # uninitialised if they overflow in the first step.
        self.optimiser = build_optimiser(self.method, card, fused=kind != torch.float16)
        self.scaler = torch.amp.GradScaler(device.type, enabled=kind == torch.float16)
        if state:
            self._load_state_dict(state)
        joined = processes.join(self.method, device)
        self.forward = Compiled(joined) if card.training.compile else joined

    @property
    def result(self) -> Method:
        """What the training is for: the running mean of the network, or the network itself."""
        return self.ema.method if self.ema else self.method

    def step(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Do one step; return mean classification loss, mean AU loss, correct faces and faces, on the device.

        Of several processes, each returns what its part adds to these of the whole batch.
        """
        truth = batch.target.argmax(1)
        batch = self.method.augment(batch, generator)
        part = self.processes.part(len(truth))
        own = Batch(batch.images[part], batch.target[part], batch.heatmaps[part], batch.valid[part])
        with autocast(self.card.training.amp, self.device):
            output: Output = self.forward(own.images, own.target)
            # Weighted targets give the weighted cross-entropy, -sum of w[t] * target[t] * log p[t], in every method.
            weighted = own.target if self.class_weights is None else own.target * self.class_weights
            classification = self.method.classification_loss(output, weighted)
        classification = classification * (len(own.target) / len(truth))
        aligned = torch.zeros_like(classification)
        if self.card.guidance.weight > 0:
            share = own.valid.sum() / batch.valid.sum().clamp(min=1)
            aligned = self.au_loss(output.features, own.heatmaps, own.valid) * share
        # DistributedDataParallel averages gradients over the processes, but the parts of a loss add up.
        self.descend(self.processes.size * (classification + self.card.guidance.weight * aligned))
        if self.ema:
            self.ema.update(self.method)
        correct = (output.logits.argmax(1) == truth[part]).sum()
        count = torch.full_like(classification, len(own.target))
        return torch.stack([classification.detach(), aligned.detach(), correct.to(classification), count])

    def descend(self, loss: Tensor) -> None:
        """Move the weights against the gradient of a loss, whose norm is clipped where the card asks for it."""
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        if self.card.training.clip_norm > 0:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.card.training.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def weights_are_finite(self) -> bool:
        """Say whether no weight of the network is infinite or NaN."""
        norms = torch._foreach_norm(list(self.method.parameters()))
        return bool(torch.isfinite(torch.stack(norms)).all())

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the training."""
        return {
            "method": self.method.state_dict(),
            "average": self.ema.state_dict() if self.ema else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.method.load_state_dict(state["method"])
        if self.ema:
            self.ema.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])


def set_rates(optimiser: torch.optim.Optimizer, training: Training, epoch: float) -> None:
    """Set the learning rates at a time of the training, in epochs: lr = max(lr0 * factor, 1e-7)."""
    factor = rate_factor(training, epoch)
    for group in optimiser.param_groups:
        group["lr"] = max(group["initial"] * factor, LOWEST_RATE)


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


def build_optimiser(method: Method, card: Card, *, fused: bool) -> torch.optim.SGD:
    """Make the optimiser of a card; head and last stage are a group with a rate of their own."""
    training = card.training
    head = method.head_parameters()
    known = {id(parameter) for parameter in head}
    body = [parameter for parameter in method.parameters() if id(parameter) not in known]
    rate, momentum = training.learning_rate, training.momentum
    nesterov = training.nesterov and momentum > 0
    groups = [{"params": body, "initial": rate}, {"params": head, "initial": rate * training.head_lr_ratio}]
    return torch.optim.SGD(groups, rate, momentum, nesterov=nesterov, weight_decay=training.weight_decay, fused=fused)


class EMA:
    """mean <- d * mean + (1 - d) * weights after every step, with d = min(decay, (1 + step) / (10 + step)).

    The small d of the first steps forgets the start. Running means and variances of normalisation layers are averaged
    as well, counters are taken over. Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by
    Averaging, 1992, in the exponential form of Tarvainen and Valpola, Mean teachers, 2017.
    """

    def __init__(self, method: Method, decay: float) -> None:
        self.method, self.decay, self.step = deepcopy(method).requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, method: Method) -> None:
        """Update the mean with the weights after a step."""
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        self.step += 1
        means, values = self.method.state_dict(), method.state_dict()
        floats = [name for name, mean in means.items() if mean.is_floating_point()]
        torch._foreach_lerp_([means[name] for name in floats], [values[name] for name in floats], 1 - decay)
        for name in means.keys() - set(floats):
            means[name].copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the state to continue from."""
        return {"step": self.step, "method": self.method.state_dict()}

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Continue from a state."""
        self.step = content["step"]
        self.method.load_state_dict(content["method"])


class Compiled:
    """Calls a method through torch.compile; falls back to eager mode where that fails, as without a compiler."""

    def __init__(self, method: Callable[..., Output]) -> None:
        self.method = method
        self.call: Callable[..., Output] = torch.compile(method)

    def __call__(self, *inputs: Any) -> Output:
        """Call the method."""
        try:
            return self.call(*inputs)
        except Exception as error:
            if self.call is self.method:
                raise
            reason = str(error).strip().partition("\n")[0]
            print(f"training.compile: not compiled ({type(error).__name__}: {reason}); going on without", flush=True)
            self.call = self.method
            return self.call(*inputs)
