"""The batches of an epoch: faces and the maps that guide them, augmented together on the device, in a seeded order."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS
from au_guidance.loss import resize
from train.config import Card
from train.data import Prepared, Rows
from train.faces import Faces, Threads, ahead
from train.machine import free_memory
from train.method import Batch
from train.render import Renderer
from train.transforms import AUGMENTATIONS, CHANCES, normalise, unit, whole

KEPT = 0.1  # share of the free memory for drawn maps


class Guides:
    """The maps that the AU term of a card aligns to, (b, s, s) on a device, and which faces have one.

    A GPU draws them for the batch. The CPU draws each once and keeps it in half precision (at most 100 kB, off by at
    most 0.0003), as long as a tenth of the free memory holds them, no larger than the faces that windows are cut from;
    controls are drawn by the CPU in any case.
    """

    def __init__(self, prepared: Prepared, card: Card, device: torch.device) -> None:
        self.prepared, self.kind, self.device = prepared, card.guidance.map, device
        self.renderer = None
        if device.type == "cuda" and self.kind == "own":
            self.renderer = Renderer(prepared.shapes, prepared.expressions, card.heatmap, device)
        self.drawn: dict[int, Tensor | None] = {}
        self.side = min(whole(card.model.image_size), CANVAS)
        self.room = int(KEPT * free_memory(torch.device("cpu")) / (2 * self.side**2))
        if self.kind == "landmarks":
            _ = prepared.points  # read once, before there are threads

    def on_host(self, rows: Rows, pool: Threads) -> tuple[Tensor, Tensor] | None:
        """Draw the maps of a batch on the CPU, and say which are there; None if the device does it."""
        if self.renderer:
            return None
        pinned = self.device.type == "cuda"
        maps = torch.zeros((len(rows), self.side, self.side), dtype=torch.float16, pin_memory=pinned)
        valid = torch.zeros(len(rows), dtype=torch.bool, pin_memory=pinned)
        for number, drawn in enumerate(pool.map(self._draw, rows.tolist())):
            if drawn is not None:
                maps[number], valid[number] = drawn, True
        return maps, valid

    def on_device(self, rows: Rows, drawn: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Bring what `on_host` gave to the device, or draw there."""
        if drawn is None:
            assert self.renderer
            return self.renderer(torch.from_numpy(rows).to(self.device, non_blocking=True))
        maps, valid = (part.to(self.device, non_blocking=True) for part in drawn)
        return maps.float(), valid

    def _draw(self, row: int) -> Tensor | None:
        if row in self.drawn:
            return self.drawn[row]
        drawn = self.prepared.guide(row, self.kind)
        half = None if drawn is None else resize(torch.from_numpy(drawn)[None], self.side)[0].half()
        if len(self.drawn) < self.room:
            self.drawn[row] = half
        return half


class Step(NamedTuple):
    """What one training step needs: the batch on the device, and the rows of the dataset in it."""

    batch: Batch
    rows: Rows


class TrainingBatches:
    """The augmented training faces of a card; what happens to a face depends on seed and epoch only."""

    def __init__(self, prepared: Prepared, card: Card, rows: Rows, device: torch.device) -> None:
        self.prepared, self.card, self.rows, self.device = prepared, card, rows, device
        training, self.size = card.training, card.model.image_size
        self.faces = Faces(prepared, rows, whole(self.size), device, place=training.faces, threads=training.workers)
        self.guides = Guides(prepared, card, device) if card.guidance.weight > 0 else None

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return math.ceil(len(self.rows) / self.card.training.batch_size)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Step]:
        """Yield the steps of an epoch but the `first` ones; the last partial batch is kept."""
        chance = np.random.default_rng([self.card.seed % 2**32, epoch])
        size = self.card.training.batch_size
        order = np.array_split(chance.permutation(self.rows), range(size, len(self.rows), size))
        chances = chance.random((len(self.prepared.ids), CHANCES), np.float32)
        generator = torch.Generator(self.device)
        augment = AUGMENTATIONS[self.card.training.augmentation]
        threads = self.card.training.workers
        with Threads(threads) as pool:

            def gather(rows: Rows) -> tuple[Rows, Tensor | None, tuple[Tensor, Tensor] | None]:
                return rows, self.faces.on_host(rows, pool), self.guides.on_host(rows, pool) if self.guides else None

            prepared = ahead(gather, order[first:], threaded=threads > 0)
            for number, (rows, gathered, drawn) in enumerate(prepared, start=first + 1):
                generator.manual_seed(step_seed(self.card, epoch, number))
                faces = self.faces.on_device(rows, gathered)
                maps, valid = self.guides.on_device(rows, drawn) if self.guides else (None, None)
                images, moved = augment(faces, maps, chances[rows], self.size, generator)
                yield Step(self._batch(images, rows, moved, valid), rows)

    def _batch(self, images: Tensor, rows: Rows, maps: Tensor | None, valid: Tensor | None) -> Batch:
        classes = torch.from_numpy(self.prepared.expressions[rows]).to(self.device, non_blocking=True)
        given = normalise(images, self.card.model.normalisation)
        if maps is None or valid is None:
            maps = images.new_zeros(len(rows), *images.shape[2:])
            valid = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
        return Batch(given, F.one_hot(classes, len(Expression)).float(), maps, valid)


def step_seed(card: Card, epoch: int, step: int) -> int:
    """Return the seed of all that is random in a step of a training, given in its order and its faces."""
    return int(np.random.SeedSequence([card.seed % 2**32, epoch, step]).generate_state(1, np.uint64)[0] >> 1)


class EvaluationBatches:
    """Whole faces of some rows in their order, as the network takes them, with their classes."""

    def __init__(self, prepared: Prepared, card: Card, rows: Rows, device: torch.device) -> None:
        self.prepared, self.card, self.rows, self.device = prepared, card, rows, device
        training, size = card.training, card.model.image_size
        self.faces = Faces(prepared, rows, size, device, place=training.faces, threads=training.workers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (b, 3, size, size) and class ids (b,) on the device."""
        size = self.card.training.evaluation_batch_size
        order = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        for rows, faces in zip(order, self.faces.batches(order), strict=True):
            classes = torch.from_numpy(self.prepared.expressions[rows]).to(self.device, non_blocking=True)
            yield normalise(unit(faces), self.card.model.normalisation), classes
