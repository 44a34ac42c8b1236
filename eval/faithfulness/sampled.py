"""A sample of the test faces of a checkpoint, as faithfulness is measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.loss import resize
from pipeline.errors import UserError
from train.card.schema import Card
from train.data.prepared import Prepared, part_rows
from train.data.transforms import evaluation_input


@dataclass(frozen=True, eq=False)
class Faces:
    """Test faces: rows (n,) of the dataset, images (n, 3, s, s) in [0, 1], class ids (n,), AU regions (n, s, s).

    A region is where the AU map of the true class is at least 0.5; `valid` (n,) is False for a face without one.
    """

    rows: NDArray[np.intp]
    images: Tensor
    expressions: Tensor
    regions: Tensor
    valid: Tensor

    def batches(self, size: int, device: torch.device) -> list["Faces"]:
        """Cut them into batches on a device."""
        return [self._chosen(slice(start, start + size), device) for start in range(0, len(self.rows), size)]

    def with_region(self) -> "Faces":
        """Return those that have an AU region."""
        return self._chosen(self.valid.cpu().numpy(), self.images.device)

    def _chosen(self, which: slice | NDArray[np.bool_], device: torch.device) -> "Faces":
        tensors = (self.images, self.expressions, self.regions, self.valid)
        return Faces(self.rows[which], *(values[which].to(device) for values in tensors))

    def draw(self, seed: int, purpose: int, draw: Callable[[np.random.Generator], NDArray[Any]]) -> Tensor:
        """Draw something for every face from a generator of its own, so that the size of a batch does not matter."""
        drawn = [draw(np.random.default_rng([seed, int(row), purpose])) for row in self.rows]
        return torch.from_numpy(np.stack(drawn)).to(self.images.device)


def load(card: Card, *, images: int, seed: int) -> Faces:
    """Load a sample of the test faces of a card's dataset; raise UserError if none of them has an AU region."""
    prepared, size = Prepared(card.data.folder, card.heatmap), card.model.image_size
    test = part_rows(prepared, card, "test")
    drawn = {row: prepared.heatmap(row) for row in test}
    has_map = np.array([heatmap is not None for heatmap in drawn.values()])
    rows = test[sample(prepared.expressions[test], has_map, images, seed)]
    regions = torch.stack([_region(drawn[row], size) for row in rows])
    valid = regions.flatten(1).any(1)
    if not valid.any():
        raise UserError(f"{card.data.folder}: no sampled test face has an AU heatmap; ask for more --images")
    return Faces(
        rows,
        torch.stack([evaluation_input(prepared.image(row), size, "unit") for row in rows]),
        torch.from_numpy(prepared.expressions[rows]),
        regions,
        valid,
    )


def _region(heatmap: NDArray[np.float32] | None, size: int) -> Tensor:
    """Return where a heatmap is at least 0.5 (s, s); nowhere if it is so everywhere, which leaves nothing outside."""
    if heatmap is None:
        return torch.zeros(size, size, dtype=torch.bool)
    region = resize(torch.from_numpy(heatmap)[None], size)[0] >= 0.5
    return region & ~region.all()


def sample(expressions: NDArray[np.integer], has_map: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.intp]:
    """Choose `count` faces (all if there are fewer) by their class ids (n,), evenly from all classes; in order.

    Classes take turns until one has no face left; within a class the order is random, but faces with an AU map come
    first. Accuracies on the sample are thus nearer the balanced accuracy than the accuracy of the test set.
    """
    chance = np.random.default_rng(seed).permutation(len(expressions))
    ordered = chance[np.argsort(~has_map[chance], kind="stable")]
    turn = np.zeros(len(expressions), np.int64)
    for expression in np.unique(expressions):
        own = ordered[expressions[ordered] == expression]
        turn[own] = np.arange(len(own))
    return np.sort(ordered[np.argsort(turn[ordered], kind="stable")][:count])
