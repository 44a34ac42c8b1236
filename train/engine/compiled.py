"""The forward pass of a training, compiled where that works."""

from collections.abc import Callable
from typing import Any

import torch

from train.methods.base import Output


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
