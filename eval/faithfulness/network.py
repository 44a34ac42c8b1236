"""A trained network as the measures of faithfulness use it."""

import torch
from torch import Tensor

from au_guidance.loss import attention
from pipeline.errors import UserError
from train.checkpoints.checkpoint import Loaded
from train.data.transforms import standardise
from train.hardware import autocast


class Network:
    """A method in evaluation mode on a device, for images (b, 3, s, s) in [0, 1], which it normalises itself."""

    def __init__(self, loaded: Loaded, device: torch.device) -> None:
        self.card, self.device = loaded.card, device
        self.method = loaded.method.eval().to(device).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the probabilities (b, 7) of all classes, computed in the precision of the card's training.

        On a CPU with bf16 that is four times as fast, and the averages over faces change in the third decimal.
        """
        with torch.no_grad(), autocast(self.card.training.amp, self.device):
            logits = self.method(self._given(images)).logits
        return _finite(logits.float().softmax(1), "answers")

    def explain(self, images: Tensor, classes: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return classes (b,), the predicted ones unless given, and raw maps {kind: (b, h, w)} in single precision.

        The kinds are `cam`, of these classes, unless the method has none, and `attention` of the deepest guided layer.
        """
        with torch.set_grad_enabled(self.method.needs_gradient):
            output = self.method(self._given(images))
            classes = output.logits.argmax(1) if classes is None else classes
            cam = self.method.cam(output, classes)
        maps = {} if cam is None else {"cam": cam}
        maps["attention"] = attention(output.features[max(self.card.guidance.layers)])
        return classes, {kind: _finite(values.detach().float(), f"{kind} maps") for kind, values in maps.items()}

    def _given(self, images: Tensor) -> Tensor:
        given = standardise(images, self.card.model.normalisation)
        return given.contiguous(memory_format=torch.channels_last)


def _finite(values: Tensor, what: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise UserError(f"the network's {what} are not finite; train it again")
    return values
