"""The maps of the baselines (`eval.metrics.baselines`), all on the canvas (224, 224), and their cosines.

Those that know how faces look know it from the training set (`eval.metrics.training_means`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS
from eval.metrics.cosines import l2_normalise
from eval.metrics.training_means import TrainingMeans
from eval.records.predictions import ORDERED

SPREAD = CANVAS / 4  # standard deviation of the centred Gaussian, pixels: the best of those tried on real faces

Numbers = NDArray[np.float64]


def gaussian(mean: NDArray[np.floating], covariance: NDArray[np.floating]) -> Tensor:
    """Paint exp(-d^T C^-1 d / 2) on the canvas, d = (x, y) - mean; pixels."""
    row, column = np.mgrid[:CANVAS, :CANVAS]
    offset = np.stack([column, row], axis=-1) - mean
    distance = np.einsum("ijk,kl,ijl->ij", offset, np.linalg.inv(covariance), offset)
    return torch.from_numpy(np.exp(-distance / 2).astype(np.float32))


class BaselineMaps:
    """The maps that are the same for all faces of an expression, ready to be compared; without means, only the first.

    cosine(i) = <F, A_i> / (|F| |A_i|) for a baseline F and the AU heatmap A_i of face i, as CAM-COS and ATT-COS. In
    [0, 1].
    """

    def __init__(self, means: TrainingMeans | None) -> None:
        middle = np.full(2, (CANVAS - 1) / 2)
        maps = {"uniform": torch.ones(CANVAS, CANVAS), "centred_gaussian": gaussian(middle, SPREAD**2 * np.eye(2))}
        if means is not None:
            maps["face_gaussian"] = gaussian(means.face_gaussian[0], means.face_gaussian[1:])
            maps["landmarks"] = torch.from_numpy(means.landmarks)
            maps["class_agnostic"] = torch.from_numpy(means.class_agnostic)
        self.names = list(maps)
        self.with_means = means is not None
        classes = [] if means is None else list(torch.from_numpy(means.class_mean))
        self.maps = l2_normalise(torch.stack([*maps.values(), *classes]))

    def cosines(
        self, heatmaps: Tensor, expressions: NDArray[np.integer], predicted: NDArray[np.integer]
    ) -> dict[str, Numbers]:
        """Return each baseline's cosine (b,) with heatmaps (b, p) of norm 1; class ids (b,) are true and predicted."""
        cosines = (heatmaps @ self.maps.T).double().numpy()
        columns = {name: cosines[:, place] for place, name in enumerate(self.names)}
        if self.with_means:
            places = np.full(len(Expression), self.names.index("class_agnostic"))  # Neutral has no mean
            places[np.array(ORDERED)] = len(self.names) + np.arange(len(ORDERED))
            rows = np.arange(len(cosines))
            columns["class_mean"] = cosines[rows, places[expressions]]
            columns["predicted_class_mean"] = cosines[rows, places[predicted]]
        return columns
