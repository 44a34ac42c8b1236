"""A running mean of a network's weights, which predicts more steadily on new people than the last weights do."""

from copy import deepcopy
from typing import Any

import torch

from train.methods.base import Method


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
