"""Whether a map shows the action units of its own class and of its own face, or those of any face.

Maps are compared with the AU heatmaps that the six expressions would have on the same face, and with those of other
faces of the same expression; all on one canvas (b, s, s), all by cosine. Axes of six run in the order of the class ids.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.metrics.cosines import l2_normalise
from eval.records.predictions import ORDERED, Predictions

OTHERS = 20  # faces of the same expression that a face is compared with, at most
NOTHING = -1  # what a map of zeros retrieves

Numbers = NDArray[np.float64]
Ids = NDArray[np.integer]


def class_cosines(maps: Tensor, heatmaps: Tensor) -> Numbers:
    """Return the cosine (b, 6) of each map (b, p) with six heatmaps of its face (b, 6, p); all have norm 1."""
    return torch.bmm(heatmaps, maps[..., None])[..., 0].double().numpy()


def own_minus_other(cosines: Numbers, expressions: Ids) -> Numbers:
    """Return how much more a map looks like its own class than like the others: cos_own - mean_{k != own} cos_k.

    `cosines` (b, 6) are of one map with the heatmaps of the six expressions on its face, `expressions` (b,) class ids.
    In [-1, 1], higher is better; about 0 for a map that knows nothing of the class, whatever its cosine. Source: ours.
    """
    own = cosines[np.arange(len(cosines)), _places(expressions)]
    margin: Numbers = own - (cosines.sum(axis=1) - own) / (cosines.shape[1] - 1)
    return margin


def best_match(cosines: Numbers) -> NDArray[np.int64]:
    """Return the class id (b,) whose heatmap a map is most alike, of several the first; NOTHING for a map of zeros."""
    best = np.array(ORDERED)[cosines.argmax(axis=1)]
    return np.where((cosines == 0).all(axis=1), NOTHING, best)


def retrieval(matched: Ids, wanted: Ids) -> Numbers:
    """Return 1 where a map's best match among the six (b,) is the wanted class, else 0; NaN where Neutral is wanted.

    In {0, 1}, higher is better, 1/6 is chance; for the true class and for the predicted one, which tells whether the
    map follows what the network says (a CAM is that of the true class in both). As there is no map of Neutral, faces
    for which that was said are left out of the latter. Fear and Surprise have nearly the same map (cosine 0.97).
    Source: ours, as top-1 image retrieval.
    """
    return np.where(np.isin(wanted, ORDERED), matched == wanted, np.nan).astype(np.float64)


def confusion(matched: Ids, expressions: Ids) -> NDArray[np.int64]:
    """Count maps (6, 6) by true class (rows) and best match (columns); maps that match nothing are left out."""
    counts = np.zeros((len(ORDERED), len(ORDERED)), np.int64)
    matching = matched != NOTHING
    np.add.at(counts, (_places(expressions[matching]), _places(matched[matching])), 1)
    return counts


class Gallery:
    """The AU heatmaps of some faces of each expression, to compare others with: at most OTHERS, drawn by seed (0)."""

    def __init__(self, predictions: Predictions, *, others: int = OTHERS, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.rows: dict[int, NDArray[np.intp]] = {}
        self.maps: dict[int, Tensor] = {}
        for expression in ORDERED:
            rows = np.flatnonzero(predictions.valid & (predictions.expressions == expression))
            self.rows[expression] = generator.permutation(rows)[:others]
            drawn = [predictions.own_heatmap(row) for row in self.rows[expression]]
            if drawn:
                self.maps[expression] = l2_normalise(torch.from_numpy(np.stack(drawn)))

    def mean_cosine(self, maps: Tensor, rows: Sequence[int] | Ids, expressions: Ids) -> Numbers:
        """Average the cosines (b,) of maps (b, p), of norm 1, with heatmaps of other faces of their expression.

        `rows` (b,) say which faces the maps are of: a face is not compared with itself. NaN where it is alone.
        """
        means = np.full(len(maps), np.nan)
        for expression in np.unique(expressions).tolist():
            places = np.flatnonzero(expressions == expression)
            cosines = (maps[places] @ self.maps[expression].T).double().numpy()
            others = self.rows[expression] != np.asarray(rows)[places][:, None]
            count = others.sum(axis=1)
            means[places] = np.divide((cosines * others).sum(axis=1), count, where=count > 0, out=means[places])
        return means


def specificity(own: Numbers, others: Numbers) -> Numbers:
    """Return how much more a map looks like its own face's heatmap than like other faces': cos_own - mean_j cos_j.

    j runs over at most 20 other faces of the same expression (`Gallery`). In [-1, 1], higher is better; about 0 for a
    map of the class that knows nothing of the face. Faces are aligned, so it stays small: an AU heatmap itself reaches
    about 0.06. NaN where no other face is there. Source: ours.
    """
    return own - others


def _places(expressions: Ids) -> NDArray[np.intp]:
    return np.searchsorted(np.array(ORDERED), expressions)
