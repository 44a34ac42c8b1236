"""The optimiser of a training and its learning rate over time."""

import math

import torch

from train.card.schema import Card, Training
from train.methods.base import Method

LOWEST_RATE = 1e-7
WARM_UP = 0.15  # share of the training


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
