"""PRM (Zhou et al., CVPR 2018): peaks of the class maps vote for the class and are traced back to the image."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pipeline.errors import UserError
from train.backbones.base import Backbone
from train.card.options import Mode, Window
from train.methods._peaks import find_peaks, propagate
from train.methods.base import Method, Output, published, start_head


class Prm(Method):
    """A 1x1 convolution gives class response maps R.

    original: the logit is the mean of R over its peaks (Eq. 1), so that gradients reach the peaks only; the map of a
    class is the sum of the peak response maps of its peaks, at the size of the image.
    published: the logit is the mean of the maxima of all windows that fit into R; the map is R itself, without peaks.
    `window` is the side of the window, an odd number of pixels.
    """

    def __init__(self, backbone: Backbone, classes: int, *, mode: Mode = "original", window: Window = 3) -> None:
        super().__init__()
        self.published = published(mode)
        if not self.published and backbone.attends:
            raise UserError(
                "model.options.mode: peaks are traced through convolutions; a transformer has mode published"
            )
        self.backbone = backbone
        self.conv = nn.Conv2d(backbone.channels[5], classes, kernel_size=1)
        start_head(self.conv)
        self.window = window

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, h, w); the maps are at the size of layer 5."""
        features = self.backbone(images)
        maps = self.conv(features[5]).float()
        if self.published:
            side = min(maps.shape[2:])
            if self.window > side:
                raise UserError(f"model.options.window: {self.window} px do not fit into layer 5, which has {side}")
            logits = F.max_pool2d(maps, self.window, stride=1).mean((2, 3))
        else:
            peaks = self.peaks(maps)
            logits = (maps * peaks).sum((2, 3)) / peaks.sum((2, 3))
        return Output(logits, features, maps, images=images)

    def peaks(self, maps: Tensor) -> Tensor:
        """Return where class response maps (b, k, h, w) peak; every map does."""
        return find_peaks(maps.detach(), self.window)

    def cam(self, output: Output, classes: Tensor) -> Tensor:
        """Return the map (b, h, w) of one class (b,) per image: the class map, or its peaks' response maps together."""
        if self.published or output.maps is None:
            return output.class_map(classes)
        asked = F.one_hot(classes, output.maps.shape[1])[..., None, None]
        return self.peak_response_maps(output, self.peaks(output.maps) * asked)

    def peak_response_maps(self, output: Output, relevance: Tensor) -> Tensor:
        """Trace relevance (b, k, h, w) at the class maps back to the images (b, h, w); one unit at a peak is its map.

        The sum over peaks takes one pass, as relevance adds up. All peaks are traced; the authors' demo leaves out
        peaks and classes below thresholds that it chose for its weights.
        """
        if output.images is None:
            raise RuntimeError("peak response maps need the images of the output")
        return propagate(lambda images: self.conv(self.backbone(images)[5]), output.images, relevance)
