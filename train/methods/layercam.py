"""LayerCAM (Jiang et al., TIP 2021): every pixel of a channel is weighed by its own positive gradient."""

from torch import Tensor

from train.methods.base import Output
from train.methods.cam import Cam
from train.methods.gradcam import gradient

TRAINED_AS = "cam"


class LayerCam(Cam):
    """The network of CAM; M = ReLU(sum over k of ReLU(dy_t / dA_k) A_k), pixel by pixel (Eq. 5 to 7), at layer 5.

    The paper's scaling by tanh and its fusion are for shallower layers.
    """

    needs_gradient = True

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image, at the size of layer 5."""
        return (gradient(output, classes).relu() * output.features[5].detach().float()).sum(1).relu()
