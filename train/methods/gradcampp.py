"""Grad-CAM++ (Chattopadhay et al., WACV 2018): positive gradients, each pixel with its own weight."""

from torch import Tensor

from train.backbones.base import Backbone
from train.card.options import Mode
from train.methods.base import Output, published
from train.methods.cam import Cam
from train.methods.gradcam import gradient

TRAINED_AS = "cam"


class GradCamPlusPlus(Cam):
    """The network of CAM; M = ReLU(sum over k of w_k A_k), w_k = sum over space of alpha ReLU(g), g = dy_t / dA_k.

    original: alpha = g^2 / (2 g^2 + g^3 sum A_k) (Eq. 19). Where g > 0, as ReLU(g) asks, that is 1 / (2 + g sum A_k).
    published: alpha = g^2, because the code divides a copy.
    The paper's score is exp(y_t); its derivatives share the factor exp(y_t), which alpha does not feel and which only
    scales the map of an image: it is left out.
    """

    needs_gradient = True

    def __init__(self, backbone: Backbone, classes: int, *, mode: Mode = "original") -> None:
        super().__init__(backbone, classes)
        self.published = published(mode)

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image, at the size of layer 5."""
        slope, features = gradient(output, classes), output.features[5].detach().float()
        alpha = slope**2 if self.published else 1 / (2 + slope * features.sum((2, 3), keepdim=True))
        weights = (alpha * slope.relu()).sum((2, 3), keepdim=True)
        return (weights * features).sum(1).relu()
