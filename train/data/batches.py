"""The batches of an epoch: faces and the maps that guide them, augmented together on the device, in a seeded order."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from train.card.schema import Card
from train.data.au_maps import GuidanceMaps
from train.data.balance import class_weights, epoch_rows
from train.data.faces import FaceStore, Threads, prefetch
from train.data.prepared import Prepared, Rows, targets
from train.data.transforms import AUGMENTATIONS, N_UNIFORMS, Floats, precrop_size, standardise, to_unit_range
from train.methods.base import Batch


class TrainingStep(NamedTuple):
    """What one training step needs: the batch on the device, and the rows of the dataset in it."""

    batch: Batch
    rows: Rows


class TrainingBatches:
    """The augmented training faces of a card; how a face is augmented depends on seed and epoch only."""

    def __init__(self, prepared: Prepared, card: Card, rows: Rows, device: torch.device) -> None:
        self.prepared, self.card, self.rows, self.device = prepared, card, rows, device
        training, self.size = card.training, card.model.image_size
        self.faces = FaceStore(
            prepared, rows, precrop_size(self.size), device, place=training.faces, threads=training.workers
        )
        learned = targets(prepared, card)
        self.targets = torch.from_numpy(learned).to(device)
        self.class_weights = (
            torch.from_numpy(class_weights(learned[rows])).to(device) if training.class_weights else None
        )
        self.guidance_maps = GuidanceMaps(prepared, card, device) if card.guidance.weight > 0 else None

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return math.ceil(len(self.rows) / self.card.training.batch_size)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[TrainingStep]:
        """Yield the steps of an epoch but the `first` ones; the last partial batch is kept."""
        rng = np.random.default_rng([self.card.seed % 2**32, epoch])
        size = self.card.training.batch_size
        shown = epoch_rows(self.rows, self.prepared.expressions[self.rows], self.card.training.sampling, rng)
        order = np.array_split(shown, range(size, len(shown), size))
        uniforms = np.array_split(self._uniforms(shown, rng), range(size, len(shown), size))
        generator = torch.Generator(self.device)
        augment = AUGMENTATIONS[self.card.training.augmentation]
        threads = self.card.training.workers
        with Threads(threads) as pool:

            def gather(rows: Rows) -> tuple[Rows, Tensor | None, tuple[Tensor, Tensor] | None]:
                drawn = self.guidance_maps.on_host(rows, pool) if self.guidance_maps else None
                return rows, self.faces.on_host(rows, pool), drawn

            prepared = prefetch(gather, order[first:], threaded=threads > 0)
            for number, (rows, gathered, drawn) in enumerate(prepared, start=first + 1):
                generator.manual_seed(step_seed(self.card, epoch, number))
                faces = self.faces.on_device(rows, gathered)
                maps, valid = self.guidance_maps.on_device(rows, drawn) if self.guidance_maps else (None, None)
                images, moved = augment(faces, maps, uniforms[number - 1], self.size, generator)
                yield TrainingStep(self._batch(images, rows, moved, valid), rows)

    def _uniforms(self, shown: Rows, rng: np.random.Generator) -> Floats:
        """Draw the random numbers of each face that an epoch shows; a face that is shown again gets new ones."""
        if self.card.training.sampling == "natural":
            return rng.random((len(self.prepared.ids), N_UNIFORMS), np.float32)[shown]
        return rng.random((len(shown), N_UNIFORMS), np.float32)

    def _batch(self, images: Tensor, rows: Rows, maps: Tensor | None, valid: Tensor | None) -> Batch:
        target = self.targets[torch.from_numpy(rows).to(self.device, non_blocking=True)]
        given = standardise(images, self.card.model.normalisation)
        if maps is None or valid is None:
            maps = images.new_zeros(len(rows), *images.shape[2:])
            valid = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
        return Batch(given, target, maps, valid)


def step_seed(card: Card, epoch: int, step: int) -> int:
    """Return the seed of all random numbers within one step of a training."""
    return int(np.random.SeedSequence([card.seed % 2**32, epoch, step]).generate_state(1, np.uint64)[0] >> 1)


class EvaluationBatches:
    """Whole faces of some rows in their order, as the network takes them, with their classes."""

    def __init__(self, prepared: Prepared, card: Card, rows: Rows, device: torch.device) -> None:
        self.prepared, self.card, self.rows, self.device = prepared, card, rows, device
        training, size = card.training, card.model.image_size
        self.faces = FaceStore(prepared, rows, size, device, place=training.faces, threads=training.workers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (b, 3, size, size) and class ids (b,) on the device."""
        size = self.card.training.evaluation_batch_size
        order = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        for rows, faces in zip(order, self.faces.batches(order), strict=True):
            classes = torch.from_numpy(self.prepared.expressions[rows]).to(self.device, non_blocking=True)
            yield standardise(to_unit_range(faces), self.card.model.normalisation), classes
