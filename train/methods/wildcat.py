"""WILDCAT (Durand et al., CVPR 2017): several maps per class, pooled over their strongest and weakest pixels."""

from torch import Tensor, nn

from train.backbones.base import Backbone
from train.card.options import Count, Mode, NotNegative
from train.methods.base import Method, Output, published, start_head


class Wildcat(Method):
    """A 1x1 convolution gives `maps` modalities per class; the class map is their mean (Section 3.2).

    original: logit = (mean of the k+ largest pixels + alpha * mean of the k- smallest) / 2 (Section 3.3; the half is
    from the method's code). published: the mean of the k+ largest, because the code loses the second term.
    `kmax` and `kmin` are shares of the pixels (0.2, 1.0) or counts (1, 20), see `count`. The defaults are those of the
    method's code. The map of a class is its class map.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        mode: Mode = "original",
        maps: Count = 8,
        kmax: NotNegative = 0.2,
        kmin: NotNegative = 0.2,
        alpha: float = 0.7,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.modalities = nn.Conv2d(backbone.channels[5], classes * maps, kernel_size=1)
        start_head(self.modalities)
        self.classes, self.kmax, self.kmin, self.alpha = classes, kmax, kmin, alpha
        self.published = published(mode)

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w); the maps are at the size of layer 5."""
        features = self.backbone(images)
        maps = self.modalities(features[5]).unflatten(1, (self.classes, -1)).float().mean(2)
        return Output(self.pool(maps), features, maps)

    def pool(self, maps: Tensor) -> Tensor:
        """Turn class maps (b, k, h, w) into logits (b, k); at least the largest pixel counts."""
        pixels = maps.flatten(2)
        highest = pixels.topk(max(count(self.kmax, pixels.shape[2]), 1)).values.mean(2)
        lowest = count(self.kmin, pixels.shape[2])
        if self.published or lowest == 0:
            return highest
        return (highest + self.alpha * pixels.topk(lowest, largest=False).values.mean(2)) / 2


def count(k: float, pixels: int) -> int:
    """Return how many of the pixels `k` means: a float up to 1.0 is a share, anything else a count."""
    wanted = round(k * pixels) if isinstance(k, float) and k <= 1 else int(k)
    return min(max(wanted, 0), pixels)
