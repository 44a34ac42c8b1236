"""CutMix (Yun et al., ICCV 2019): CAM trained on images with a patch of another image, and labels mixed by area."""

import numpy as np
import torch
from torch import Tensor

from train.backbones.base import Backbone
from train.card.options import Positive, Probability
from train.methods.base import Batch
from train.methods.cam import Cam


class CutMix(Cam):
    """The network and map of CAM; with probability `prob` each training batch is mixed, lambda ~ Beta(beta, beta).

    The box has the share 1 - lambda of the image before the border cuts it (Eq. 2); targets are mixed by the area left.
    """

    def __init__(self, backbone: Backbone, classes: int, *, beta: Positive = 1.0, prob: Probability = 1.0) -> None:
        super().__init__(backbone, classes)
        self.beta, self.prob = beta, prob

    def augment(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Paste one box of permuted partners into images and heatmaps; target = lam * own + (1 - lam) * partner's.

        The box follows heatmaps of another resolution, rounded to their pixels; lam is the area of the image outside
        the box. A face keeps its AU term if own and pasted heatmap are both there: a patch without AUs, as of a
        Neutral partner, would teach that its action units are absent. An empty box changes nothing, and one over the
        whole image leaves the partner alone.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        if rng.random() >= self.prob:
            return batch
        partner = torch.from_numpy(rng.permutation(len(batch.images))).to(batch.images.device)
        size = tuple(batch.images.shape[2:])
        box = _box(size, 1 - rng.beta(self.beta, self.beta), rng)
        share = (box[1] - box[0]) * (box[3] - box[2]) / (size[0] * size[1])
        return Batch(
            images=_paste(batch.images, partner, box, size),
            target=(1 - share) * batch.target + share * batch.target[partner],
            heatmaps=_paste(batch.heatmaps, partner, box, size),
            valid=(batch.valid | (share == 1)) & (batch.valid[partner] | (share == 0)),
        )


def _box(size: tuple[int, ...], share: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw top, bottom, left, right of a box: sides sqrt(share), a uniform centre, cut off at the border."""
    edges = []
    for length in size:
        side, centre = int(length * share**0.5), int(rng.integers(length))
        edges += [max(centre - side // 2, 0), min(centre + side // 2, length)]
    return tuple(edges)


def _paste(maps: Tensor, partner: Tensor, box: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Fill the box, given in pixels of a picture of `size`, of each map (b, ..., h, w) from its partner's map."""
    down, across = (length / full for length, full in zip(maps.shape[-2:], size, strict=True))
    top, bottom, left, right = map(round, (box[0] * down, box[1] * down, box[2] * across, box[3] * across))
    mixed = maps.clone()
    mixed[..., top:bottom, left:right] = maps[partner, ..., top:bottom, left:right]
    return mixed
