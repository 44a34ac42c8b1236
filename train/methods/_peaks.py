"""Peaks of class maps, and the way back from a peak to the image (PRM: Zhou et al., CVPR 2018)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode


def find_peaks(maps: Tensor, window: int) -> Tensor:
    """Return where class maps (b, k, h, w) peak: the largest value of the window around it, at least the map's median.

    Of equal neighbours the first one counts, in reading order. Every map has a peak, its maximum.
    """
    height, width = maps.shape[2:]
    _, where = F.max_pool2d(maps, window, stride=1, padding=window // 2, return_indices=True)
    here = torch.arange(height * width, device=maps.device).view(height, width)
    return (where == here) & (maps >= maps.flatten(2).median(2).values[..., None, None])


def propagate(network: Callable[[Tensor], Tensor], images: Tensor, relevance: Tensor) -> Tensor:
    """Send relevance at a network's output back to its images (b, c, h, w); return where it arrives, (b, h, w).

    One forward and one backward pass for the batch; images do not mix. What arrives sums to what was sent, but for what
    reaches a unit that no positive connection feeds.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        start = images.detach().clone().requires_grad_()
        with RandomWalk():
            output = network(start)
        (arrived,) = torch.autograd.grad(output, start, relevance.to(output))
    return arrived.sum(1)


class RandomWalk(TorchFunctionMode):
    """While active, forward passes compute their usual values, and their backward passes send relevance down.

    A unit V hands its relevance to the units U below it: P(U) = sum over V of P(V) P(U | V), the visiting probabilities
    of a random walk (Eq. 3). Through a convolution P(U | V) = Z_V * U * ReLU(w_UV), where Z_V makes them sum to one
    over U (Eq. 4); U is counted from the smallest value of its image, so that it is not negative.
    The paper names convolutions and pooling. Here the same rule covers what else a network does: a layer that maps
    one unit to one, such as batch normalisation and ReLU, passes relevance on; a sum shares it in proportion to the
    positive terms; a product with a gate follows the larger tensor. The authors' code takes plain gradients there,
    and so loses the probabilities.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace a function that has a rule."""
        return RULES.get(function, function)(*args, **(kwargs or {}))


class _Spread(torch.autograd.Function):
    """A layer whose backward pass shares relevance by what each value adds to `spread`, linear and not negative."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, layer: Callable[[Tensor], Tensor], spread: Callable[[Tensor], Tensor]) -> Any:
        ctx.save_for_backward(values)
        ctx.spread = spread
        return layer(values)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        (values,) = ctx.saved_tensors
        with torch.enable_grad():
            counted = (values - values.amin(tuple(range(1, values.ndim)), keepdim=True)).requires_grad_()
            total = ctx.spread(counted)
            share = torch.where(total > 1e-30, relevance / total, 0.0)  # nothing positive below: Z is not defined
            (back,) = torch.autograd.grad(total, counted, share)
        return counted.detach() * back, None, None


def _spread(values: Tensor, layer: Callable[[Tensor], Tensor], spread: Callable[[Tensor], Tensor]) -> Tensor:
    result: Tensor = _Spread.apply(values, layer, spread)
    return result


def _affine(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Positive connections share; bias and negative ones only count for the value."""

    def rule(values: Tensor, weight: Tensor, bias: Tensor | None = None, *geometry: Any, **named: Any) -> Tensor:
        positive = weight.detach().clamp(min=0)
        return _spread(
            values,
            lambda given: function(given, weight, bias, *geometry, **named),
            lambda counted: function(counted, positive, None, *geometry, **named),
        )

    return rule


def _average(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rule(values: Tensor, *geometry: Any, **named: Any) -> Tensor:
        def average(given: Tensor) -> Tensor:
            return function(given, *geometry, **named)

        return _spread(values, average, average)

    return rule


def _one_to_one(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rule(values: Tensor, *rest: Any, **named: Any) -> Tensor:
        with torch.no_grad():  # a copy, because the function may work in place
            result = function(values.clone(), *rest, **named)
        return _pass(result, values)

    return rule


def _sum(first: Tensor, second: Tensor | float) -> Tensor:
    if not isinstance(second, Tensor) or first.shape != second.shape:
        return _pass(torch.add(first, second).detach(), _larger(first, second))
    left, right = first.detach().relu(), second.detach().relu()
    share = torch.where(left + right > 0, left / (left + right), 0.5)
    return _pass((first + second).detach(), share * first, (1 - share) * second)


def _product(first: Tensor, second: Tensor | float) -> Tensor:
    return _pass(torch.mul(first, second).detach(), _larger(first, second))


def _larger(first: Tensor, second: Tensor | float) -> Tensor:
    return second if isinstance(second, Tensor) and second.numel() > first.numel() else first


def _pass(result: Tensor, *sources: Tensor) -> Tensor:
    """Give a result the gradients of the sum of its sources."""
    return result + sum(source - source.detach() for source in sources)


ONE_TO_ONE: tuple[Callable[..., Tensor], ...] = (
    *(F.batch_norm, F.layer_norm, F.group_norm),
    *(F.relu, F.relu6, F.leaky_relu, F.prelu, F.elu, F.gelu, F.silu, F.mish, F.hardswish, F.hardtanh),
)
RULES: dict[Any, Callable[..., Any]] = {
    **{function: _affine(function) for function in (F.conv2d, F.linear)},
    **{function: _one_to_one(function) for function in ONE_TO_ONE},
    F.avg_pool2d: _average(F.avg_pool2d),
    **dict.fromkeys((torch.add, Tensor.add, Tensor.add_), _sum),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.mul_), _product),
}
