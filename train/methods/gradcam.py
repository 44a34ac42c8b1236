"""Grad-CAM (Selvaraju et al., ICCV 2017): the mean gradient of a class score weighs the channels."""

import torch
from torch import Tensor

from train.methods.base import Output
from train.methods.cam import Cam

TRAINED_AS = "cam"


class GradCam(Cam):
    """The network of CAM; M = ReLU(sum over k of w_k A_k), w_k = mean over space of dy_t / dA_k (Eq. 1 and 2).

    y_t is the logit of class t, A the features of layer 5.
    """

    needs_gradient = True

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image, at the size of layer 5."""
        weights = gradient(output, classes).mean((2, 3), keepdim=True)
        return (weights * output.features[5].detach().float()).sum(1).relu()


def gradient(output: Output, classes: Tensor) -> Tensor:
    """Return the gradient (b, c, h, w) of each image's logit of its class (b,) at layer 5, in one backward pass.

    An image's logits depend on its own features only, so that the sum over the batch separates again. The graph is
    kept: the maps of other classes can follow. Raises RuntimeError after a forward pass without gradients.
    """
    if not output.features[5].requires_grad:
        raise RuntimeError("this class map is a gradient: run the forward pass with gradients enabled")
    score = output.logits.gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, output.features[5], retain_graph=True)[0].float()
