"""A prepared dataset as the trainer sees it: rows of shards, and the split that selects."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from au_guidance.heatmap import draw
from pipeline.errors import UserError
from pipeline.storage import images
from pipeline.storage.landmarks import read_landmarks
from pipeline.storage.shards import ShardFolder
from train.card.schema import Card, Heatmap
from train.data.controls import draw_control, landmark_map

Rows = NDArray[np.intp]
ATTRIBUTE = "attribute_"  # begins the columns of attributes


class Prepared:
    """The faces and AU heatmaps of one dataset, row by row in the order of its shards.

    `ids`, `splits` ("train" or "test"), `identities` ("" where unknown) are strings; `expressions` holds class ids;
    `readable` is False where the image file could not be read: such rows stay, but no part uses them. `alignment` tells
    how the faces were cut (size in pixels, detector, mode); `shapes` (n, s, 5) are what AU maps are drawn from;
    `digest` changes when any shard does. Pictures stay on disk until they are asked for. Raises UserError if shards are
    missing or do not belong together, or an image is there twice.
    """

    def __init__(self, folder: Path, heatmap: Heatmap) -> None:
        names = ("id", "expression", "split", "identity", "status")
        stored, heatmaps = (ShardFolder(folder / stage) for stage in ("faces", "heatmaps"))
        self.alignment, geometry = stored.attributes, heatmaps.attributes["geometry"]
        faces, drawn = stored.columns(*names), heatmaps.columns("id", "shapes")
        if not np.array_equal(faces["id"], drawn["id"]):
            raise UserError(f"{folder}: faces/ and heatmaps/ list different images; run the workflow again")
        self.digest = hashlib.sha256(f"{stored.checksums}{heatmaps.checksums}".encode()).hexdigest()
        if geometry != heatmap.geometry:
            asked = f"heatmap.geometry asks for {heatmap.geometry!r}"
            raise UserError(f"{folder}/heatmaps holds the geometry {geometry!r}, {asked}")
        self.folder, self.heatmap_settings = folder, heatmap
        self.ids, self.splits, self.identities = faces["id"], faces["split"], faces["identity"]
        self.expressions = faces["expression"].astype(np.int64)
        self.readable = faces["status"] != "unreadable"
        self.shapes = drawn["shapes"]
        self._stored, self._files = stored, stored.stored_files()

    def image(self, row: int) -> NDArray[np.uint8]:
        """Decode an aligned face to RGB (size, size, 3)."""
        try:
            return images.decode(self._files[row])
        except images.Unreadable:
            name = self.ids[row]
            raise UserError(f"the stored face of {name} cannot be decoded; rebuild the shards of the dataset") from None

    def heatmap(self, row: int) -> NDArray[np.float32] | None:
        """Draw the AU heatmap (224, 224) over the square of the image; None for Neutral and without landmarks."""
        settings = self.heatmap_settings
        expression = Expression(self.expressions[row])
        return draw(self.shapes[row], expression, codebook=settings.codebook, geometry=settings.geometry)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Landmarks (n, 68, 2) of all rows in pixels of the 224-px canvas, NaN where there are none."""
        landmarks = ShardFolder(self.folder / "landmarks")
        if not np.array_equal(landmarks.columns("id")["id"], self.ids):
            raise UserError(f"{self.folder}: faces/ and landmarks/ list different images; run the workflow again")
        return read_landmarks(landmarks)

    @cached_property
    def attributes(self) -> dict[str, NDArray[np.object_]]:
        """The columns `attribute_<name>` (n,) that the dataset knows about its faces: words, "" where unknown."""
        names = [name for name in self._stored.shards[0].names if name.startswith(ATTRIBUTE)]
        return self._stored.columns(*names) if names else {}

    def guidance_map(self, row: int, kind: str = "own") -> NDArray[np.float32] | None:
        """Draw what the AU term aligns a face's attention to (224, 224), its AU map or a control in place of it.

        None for Neutral and without landmarks, whatever the control: all variants are guided on the same faces.
        """
        own = self.heatmap(row)
        if own is None or kind == "own":
            return own
        if kind == "landmarks":
            return landmark_map(self.points[row])
        return draw_control(kind, Expression(self.expressions[row]), self.shapes[row], self.heatmap_settings)

    def rows(self, split: str) -> Rows:
        """List the readable rows of "train" or "test"."""
        return np.flatnonzero((self.splits == split) & self.readable)


def part_rows(prepared: Prepared, card: Card, part: str) -> Rows:
    """List the rows that serve as "train" or "validation" under the protocol of the card, or as "test".

    heldout: a seeded, stratified share of the training set is "validation", and no known person is in both
    parts. paper: the test set is "validation", as in the published code. Raises UserError if a part is empty.
    """
    if part == "test":
        rows = prepared.rows("test")
    elif card.protocol == "paper":
        rows = prepared.rows("test" if part == "validation" else "train")
    else:
        rows = prepared.rows("train")
        fraction, seed = card.data.validation_fraction, card.data.validation_seed
        held = held_out(prepared.expressions[rows], prepared.identities[rows], fraction=fraction, seed=seed)
        rows = rows[held if part == "validation" else ~held]
    if not len(rows):
        raise UserError(f"{card.data.folder}: no readable face is left for {part} (protocol {card.protocol})")
    return rows


def held_out(
    expressions: NDArray[np.integer], identities: Iterable[str], *, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose which faces validate: about `fraction` of every class, at least one of a class with two or more.

    All faces of a person go together; faces of unknown people ("") each stand alone. Class by class, the rarest first,
    people are taken in random order until the class has its share; a person who would take a class further from its
    share is passed over, unless the class has no face yet, and no class loses all its faces for training.
    """
    names = [name or f"\0{row}" for row, name in enumerate(identities)]
    person = np.unique(names, return_inverse=True)[1]
    counts = np.zeros((person.max(initial=-1) + 1, len(Expression)), np.int64)
    np.add.at(counts, (person, expressions), 1)
    total = counts.sum(0)
    share = np.where(total >= 2, np.maximum(np.round(total * fraction), 1), 0)
    order = np.random.default_rng(seed).permutation(len(counts))
    taken, chosen = np.zeros_like(total), np.zeros(len(counts), bool)
    for expression in np.argsort(total, kind="stable"):
        for candidate in order[(counts[order, expression] > 0) & ~chosen[order]]:
            after = taken + counts[candidate]
            if taken[expression] >= share[expression]:
                break
            nearer = np.abs(after - share).sum() < np.abs(taken - share).sum()
            leaves_some = ((after < total) | (counts[candidate] == 0)).all()
            if leaves_some and (nearer or taken[expression] == 0):
                taken, chosen[candidate] = after, True
    return chosen[person]
