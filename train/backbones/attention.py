"""Detects whether a network has attention, by running it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode


class AttentionDetector(TorchFunctionMode):
    """While active, notes in `found` whether a softmax, a product of features or an LSTM ran.

    There a place's features depend on both ends of a connection, so that the random walk of `train.methods._peaks` has
    no rule and no probabilities.
    """

    found: bool = False

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function and note which one it is."""
        self.found |= function in ATTENTION
        return function(*args, **(kwargs or {}))


ATTENTION = {
    *(F.softmax, torch.softmax, Tensor.softmax, F.scaled_dot_product_attention, F.multi_head_attention_forward),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm, torch.einsum, torch.lstm),
}
