"""TS-CAM (Gao et al., ICCV 2021): class maps of the patch tokens, times the attention of the class token."""

from torch import Tensor, nn

from train.backbones.base import Backbone
from train.backbones.vit import VisionTransformer, attending
from train.card.schema import Model
from train.methods.base import Method, Output

BACKBONES = ("deit_small", "deit_micro", "timm/<name>")


class TsCam(Method):
    """Maps F = conv3x3(P) of the patch tokens P; logits = mean F; the map of class t is M = R * F[t] (Eq. 6 to 9).

    R is the attention of the class token over the patches: averaged over heads, added up over blocks. Layer 1 is P,
    layer 2 is R. The published code is the same, without the drop path that the paper trains with.
    """

    backbone: VisionTransformer

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = attending(backbone)
        self.head = nn.Conv2d(self.backbone.channels[1], classes, kernel_size=3, padding=1)

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, s, s) of the size that the transformer was built for."""
        features = self.backbone(images)
        maps = self.head(features[1])
        return Output(maps.mean((2, 3)), features, maps)

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image, at the size of the patch grid."""
        return output.features[2][:, 0].detach() * output.class_map(classes)

    def initialise(self, model: Model) -> None:
        """Without pretrained weights give the final LayerNorm unequal scales.

        With equal ones the channel mean of P, which the AU term aligns, is zero everywhere, and the gradient of its
        cosine is without bound.
        """
        if model.init == "none":
            nn.init.normal_(self.backbone.network.norm.weight, mean=1.0, std=0.1)
