"""One training in several processes, a GPU each: `torchrun --nproc-per-node 2 -m train run.yaml --out DIR`.

Every process prepares the same batches and computes its part of each. Normalisation, losses and gradients are those of
the whole batch, so that the number of processes changes nothing but the time.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import UserError
from train.data.prepared import Rows

WAIT = timedelta(days=7)  # a process may wait for a GPU that long; if one fails, torchrun ends the others


class Processes:
    """The processes that train a run together; without torchrun there is one."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self.size > 1 and not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=WAIT)

    def close(self) -> None:
        """Leave the process group; without this, communication threads can crash at the end of a process."""
        if self.size > 1:
            dist.destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Run the block in the main process before the others run it."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def wait(self) -> None:
        """Wait until all processes have called this."""
        self.sum(torch.zeros(1))

    def sum(self, values: Tensor) -> Tensor:
        """Add up a tensor on the CPU over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any_rank(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process."""
        return list(flags) if self.size == 1 else self.sum(torch.tensor(flags).float()).bool().tolist()

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value in every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def part(self, length: int) -> slice:
        """Return which rows of a batch are this process's; raise UserError if a process would have none."""
        if length < self.size:
            raise UserError(
                f"training.batch_size: a batch has {length} faces for {self.size} processes; use fewer processes, or a "
                "batch size that leaves a larger last batch"
            )
        return slice(length * self.rank // self.size, length * (self.rank + 1) // self.size)

    def share(self, rows: Rows) -> Rows:
        """Return this process's part of rows that are each evaluated once."""
        return rows[self.rank :: self.size]

    def join(self, method: nn.Module, device: torch.device) -> nn.Module:
        """Wrap a network so that its gradients and its normalisation are those of the whole batch."""
        if self.size == 1:
            return method
        if device.type == "cuda":
            from timm.layers import norm_act  # noqa: PLC0415  (slow to import)

            # It knows timm's layers; torch's own function does not.
            convert: Callable[[nn.Module], nn.Module] = norm_act.convert_sync_batchnorm
            return DistributedDataParallel(convert(method), device_ids=[device])
        for module in method.modules():
            if isinstance(module, _BatchNorm):
                if type(module) not in (nn.BatchNorm1d, nn.BatchNorm2d):
                    raise UserError(f"{type(module).__name__} is not for several processes on a CPU; use one")
                module.__class__ = _Synced
        return DistributedDataParallel(method)


class _Sum(torch.autograd.Function):
    """Sums a tensor, and in the backward pass its gradient, over all processes."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(context, gradient)


class _Synced(_BatchNorm):
    """Batch normalisation over the batches of all processes; torch's SyncBatchNorm is for GPUs only."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1, -1] + [1] * (values.ndim - 2)
        x = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
        count = _Sum.apply(x.new_tensor(float(x.numel() // x.shape[1])))
        mean = _Sum.apply(x.sum(axes)) / count
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)
            self.num_batches_tracked += 1
        scaled = centred * (variance + self.eps).rsqrt().view(shape)
        normalised: Tensor = scaled * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(values.dtype)

    def _check_input_dim(self, values: Tensor) -> None:
        del values
