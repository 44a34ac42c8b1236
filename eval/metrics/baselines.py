"""What needs no network: the cosines with a face's AU heatmap of maps that anybody could paint.

Every floor answers to the same faces as the score beside it. Those that know faces know them from the training set
(`eval.metrics.training_means`). All maps are on the canvas (224, 224).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.heatmap import CANVAS
from au_guidance.loss import resize
from eval.metrics.discrimination import unit
from eval.metrics.training_means import Means
from eval.records.predictions import ORDERED

SPREAD = CANVAS / 4  # standard deviation of the centred Gaussian, pixels: the best of those tried on real faces

# What each floor paints; all but the last two are the same for CAM and attention.
FLOORS = {
    "uniform": "the same everywhere",
    "centred_gaussian": "one blob in the middle of the image",
    "face_gaussian": "one blob with the mean and the spread of the training faces' landmarks",
    "landmarks": "Gaussians on the training faces' landmarks, averaged",
    "class_agnostic": "the mean AU map of the six expressions of the training faces",
    "class_mean": "the training faces' mean AU map of the true expression",
    "predicted_class_mean": "the same of the predicted expression; the class-agnostic one where that is Neutral",
    "other_face": "the AU map of other test faces of the true expression",
    "ceiling": "the AU map itself, through the grid of the layer",
    "untrained": "what the network shows before any training, from random weights",
}
OF_TRAINING = ("face_gaussian", "landmarks", "class_agnostic", "class_mean", "predicted_class_mean")

Numbers = NDArray[np.float64]


def gaussian(mean: NDArray[np.floating], covariance: NDArray[np.floating]) -> Tensor:
    """Paint exp(-d^T C^-1 d / 2) on the canvas, d = (x, y) - mean; pixels."""
    row, column = np.mgrid[:CANVAS, :CANVAS]
    offset = np.stack([column, row], axis=-1) - mean
    distance = np.einsum("ijk,kl,ijl->ij", offset, np.linalg.inv(covariance), offset)
    return torch.from_numpy(np.exp(-distance / 2).astype(np.float32))


class Painted:
    """The maps that are the same for all faces of an expression, ready to be compared; without means, only the first.

    cosine(i) = <F, A_i> / (|F| |A_i|) for a floor F and the AU heatmap A_i of face i, as CAM-COS and ATT-COS. In
    [0, 1]; a score that is not above a floor says that the network found nothing that the floor does not know.
    """

    def __init__(self, means: Means | None) -> None:
        middle = np.full(2, (CANVAS - 1) / 2)
        painted = {
            "uniform": torch.ones(CANVAS, CANVAS),
            "centred_gaussian": gaussian(middle, SPREAD**2 * np.eye(2)),
        }
        if means is not None:
            painted["face_gaussian"] = gaussian(means.face_gaussian[0], means.face_gaussian[1:])
            painted["landmarks"] = torch.from_numpy(means.landmarks)
            painted["class_agnostic"] = torch.from_numpy(means.class_agnostic)
        self.names = list(painted)
        self.with_means = means is not None
        classes = [] if means is None else list(torch.from_numpy(means.class_mean))
        self.maps = unit(torch.stack([*painted.values(), *classes]))

    def cosines(self, heatmaps: Tensor, expressions: NDArray[np.integer], predicted: NDArray) -> dict[str, Numbers]:
        """Return each floor's cosine (b,) with heatmaps (b, p), given by `unit`, of faces of known and said classes."""
        found = (heatmaps @ self.maps.T).double().numpy()
        columns = {name: found[:, place] for place, name in enumerate(self.names)}
        if self.with_means:
            rows, classes = np.arange(len(found)), found[:, len(self.names) :]
            six = np.array(ORDERED)
            place = np.searchsorted(six, predicted).clip(max=len(six) - 1)
            columns["class_mean"] = classes[rows, np.searchsorted(six, expressions)]
            columns["predicted_class_mean"] = np.where(
                six[place] == predicted, classes[rows, place], columns["class_agnostic"]
            )
        return columns


def through_grid(heatmaps: Tensor, side: int, mode: str, canvas: Callable[[Tensor], Tensor]) -> Tensor:
    """Bring AU heatmaps (b, s, s) to the grid of a layer (side, side) as its AU term does, and back by `canvas`.

    A network whose loss is zero shows this: `ceiling`. A least-squares fit on the grid can come a little closer.
    """
    return canvas(resize(heatmaps, side, mode))


def skill(value: float, floor: float) -> float | None:
    """Return the share of what a floor left to gain: (value - floor) / (1 - floor).

    1 is perfect, 0 no better than the floor, negative is worse; higher is better. None where the floor is perfect.
    Source: forecast skill scores (Murphy, Skill scores based on the mean square error, 1988).
    """
    return (value - floor) / (1 - floor) if floor < 1 else None
