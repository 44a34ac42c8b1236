"""A checkpoint as one ONNX file, written only if onnxruntime reproduces PyTorch's outputs with it."""

import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from au_guidance.loss import attention
from pipeline.errors import UserError
from pipeline.storage.files import atomic_write
from train.checkpoints.checkpoint import Loaded
from train.data.transforms import standardise
from train.methods.base import Method

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-3
BATCHES = (1, 3)  # sizes that are checked
SILENT = 4  # log level of onnxruntime: it logs nothing that it also raises
Function = Callable[..., Any]


def write_onnx(loaded: Loaded, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write the network of a checkpoint for any batch size; `metadata` is stored in the file as JSON.

    Input `images` (b, 3, s, s), normalised; outputs `logits` (b, 7), `attention` (b, h, w) of the deepest guided layer
    and `cam` (b, h, w), the raw map of the predicted class, where it needs no gradient. Raises UserError if packages
    are missing, the network cannot be exported, or onnxruntime differs from PyTorch by more than 1e-3.
    """
    for package in PACKAGES:
        _package(package)
    answers = Answers(loaded)
    example = random_images(loaded, max(BATCHES))
    with atomic_write(path) as temporary:
        program = _exported(answers, example, path)
        program.model.metadata_props.update({name: json.dumps(value) for name, value in metadata.items()})
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # stack traces with paths of this machine
        program.save(temporary, external_data=False)
        check(answers, temporary, [example[:size] for size in BATCHES], path)


class Answers(nn.Module):
    """What the file computes: the network's logits, attention and, where no gradient is needed, class map."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self.method = loaded.method.eval()
        self.layer = max(loaded.card.guidance.layers)
        self.has_cam = cam_without_gradient(self.method, random_images(loaded, 1))
        self.names = ("logits", "attention", "cam") if self.has_cam else ("logits", "attention")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of `names` for normalised images (b, 3, s, s)."""
        output = self.method(images)
        answers = output.logits, attention(output.features[self.layer])
        if not self.has_cam:
            return answers
        cam = self.method.cam(output, output.logits.argmax(1))
        assert cam is not None
        return *answers, cam


def cam_without_gradient(method: Method, images: Tensor) -> bool:
    """Return whether a forward pass computes the method's class map; some methods need gradients for it."""
    saved: list[Tensor] = []

    def save(value: Tensor) -> Tensor:
        saved.append(value)
        return value

    if method.needs_gradient:
        return False
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(save, lambda value: value):
        output = method(images)
        cam = method.cam(output, output.logits.argmax(1))
    return cam is not None and not saved


def random_images(loaded: Loaded, count: int) -> Tensor:
    """Draw noise images, normalised for the network: (count, 3, s, s)."""
    model = loaded.card.model
    pixels = torch.rand(count, 3, model.image_size, model.image_size, generator=torch.Generator().manual_seed(0))
    return standardise(pixels, model.normalisation)


def check(answers: Answers, file: Path, batches: list[Tensor], path: Path) -> None:
    """Raise UserError if onnxruntime and PyTorch differ by more than 1e-3, maps after division by their peak."""
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        outputs = [session.run(list(answers.names), {"images": images.numpy()}) for images in batches]
    except Exception as error:  # onnxruntime's errors have no common base
        raise UserError(f"{path} is not written: onnxruntime cannot run it ({_line(error)})") from None
    for images, output in zip(batches, outputs, strict=True):
        with torch.no_grad():
            expected = [value.numpy() for value in answers(images)]
        for name, ours, theirs in zip(answers.names, expected, output, strict=True):
            difference = np.inf if ours.shape != theirs.shape else np.abs(_scaled(theirs) - _scaled(ours)).max()
            if not difference <= TOLERANCE:  # also refuses NaN
                raise UserError(
                    f"{path} is not written: its {name} differ from PyTorch's by {difference:.2g} (batch {len(images)})"
                )


def _scaled(values: NDArray[np.floating]) -> NDArray[np.floating]:
    if values.ndim == 2:
        return values
    peak = np.abs(values).max((1, 2), keepdims=True)
    return values / np.where(peak > 0, peak, 1)


def _exported(answers: Answers, example: Tensor, path: Path) -> Any:
    """Trace strictly, through dynamo, which keeps the batch size variable where code asks for `len` of a batch."""
    dynamic = ({0: torch.export.Dim("batch")},)
    try:
        with _quiet(), torch.no_grad():
            with _Exportable():
                program = torch.export.export(answers, (example,), dynamic_shapes=dynamic, strict=True)
            return torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["images"], output_names=list(answers.names)
            )
    except Exception as error:  # dynamo, export and ONNX raise many types
        kind = type(answers.method).__name__
        raise UserError(f"{path} is not written: ONNX cannot express this {kind} ({_line(error)})") from None


class _Exportable(TorchFunctionMode):
    """While active, replaces functions that ONNX lacks, or that fix the batch size, by equivalent ones."""

    def __torch_function__(
        self, function: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the equivalent of a function if it has one."""
        return EQUIVALENTS.get(function, function)(*args, **(kwargs or {}))


def _median(values: Tensor, dim: int) -> Any:
    order = values.sort(dim)
    middle = (values.shape[dim] - 1) // 2
    return torch.return_types.median((order.values.select(dim, middle), order.indices.select(dim, middle)))


def _take_along(values: Tensor, indices: Tensor, dim: int) -> Tensor:
    shape = list(values.shape)
    shape[dim] = -1
    return values.gather(dim, indices.expand(shape))


EQUIVALENTS: dict[Function, Function] = {Tensor.median: _median, Tensor.take_along_dim: _take_along}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' progress and warnings; the user gets a checked file or a one-line error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"an ONNX file needs the package {name}: uv sync --group export") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
