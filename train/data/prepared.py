"""A prepared dataset as the trainer sees it: rows of shards, and the split that selects."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from au_guidance.heatmap import draw
from pipeline.errors import UserError
from pipeline.storage import images
from pipeline.storage.landmarks import read_landmarks
from pipeline.storage.shards import Shard, ShardFolder
from train.card.schema import Card, Heatmap
from train.data.controls import draw_control, landmark_map

Rows = NDArray[np.intp]
ATTRIBUTE = "attribute_"  # begins the columns of attributes


class Prepared:
    """The faces and AU heatmaps of one dataset, row by row in the order of its shards.

    `ids`, `splits` ("train", "validation" or "test"), `identities` ("" where unknown) are strings; `expressions` holds
    class ids; `readable` is False where the image file could not be read: such rows stay, but no part uses them.
    `alignment` tells how the faces were cut (size in pixels, detector, mode); `shapes` (n, s, 5) are what AU maps are
    drawn from; `digest` changes when any shard does. Pictures stay on disk until they are asked for. Raises UserError
    if shards are missing or do not belong together, or an image is there twice.
    """

    def __init__(self, folder: Path, heatmap: Heatmap) -> None:
        names = ("id", "expression", "split", "identity", "status")
        stored, heatmaps = (ShardFolder(folder / stage) for stage in ("faces", "heatmaps"))
        self.alignment, geometry = stored.attributes, heatmaps.attributes["geometry"]
        faces, drawn = stored.columns(*names), heatmaps.columns("id", "shapes")
        if not np.array_equal(faces["id"], drawn["id"]):
            raise UserError(f"{folder}: faces/ and heatmaps/ list different images; run the workflow again")
        heatmaps.check_parents(stored)
        self.digest = hashlib.sha256(f"{stored.checksums}{heatmaps.checksums}".encode()).hexdigest()
        if geometry != heatmap.geometry:
            asked = f"heatmap.geometry asks for {heatmap.geometry!r}"
            raise UserError(f"{folder}/heatmaps holds the geometry {geometry!r}, {asked}")
        self.folder, self.heatmap_settings = folder, heatmap
        self.ids, self.splits, self.identities = faces["id"], faces["split"], faces["identity"]
        self.expressions = faces["expression"].astype(np.int64)
        self.readable = faces["status"] != "unreadable"
        self.shapes = drawn["shapes"]
        self._stored, self._heatmaps, self._files = stored, heatmaps, stored.stored_files()

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
        return read_landmarks(self._landmarks)

    @cached_property
    def extractor(self) -> str | None:
        """The extractor that placed the landmarks of the AU heatmaps; None if the landmarks are not there."""
        first = self.folder / "landmarks" / "0.h5"
        return str(Shard(first).attributes["extractor"]) if first.is_file() else None

    @cached_property
    def detection(self) -> dict[str, NDArray[Any]]:
        """How each face was found (n,): status `face`, `step` and `score` of the detector, `landmark_quality`.

        What the shards do not hold is left out: those of earlier versions have no score.
        """
        known = self._stored.shards[0].names
        names = {"face": "status", "step": "step", "score": "score"}
        stored = self._stored.columns(*(name for name in names.values() if name in known))
        columns = {name: stored[column] for name, column in names.items() if column in stored}
        if (self.folder / "landmarks").is_dir():
            columns["landmark_quality"] = self._landmarks.columns("quality")["quality"]
        return columns

    @cached_property
    def _landmarks(self) -> ShardFolder:
        landmarks = ShardFolder(self.folder / "landmarks")
        if not np.array_equal(landmarks.columns("id")["id"], self.ids):
            raise UserError(f"{self.folder}: faces/ and landmarks/ list different images; run the workflow again")
        landmarks.check_parents(self._stored)
        self._heatmaps.check_parents(landmarks)
        return landmarks

    @cached_property
    def votes(self) -> NDArray[np.float32] | None:
        """Votes (n, 7) of annotators, in the order of `Expression`, NaN where unknown; None if the dataset has none."""
        return self._stored.columns("votes")["votes"] if "votes" in self._stored.shards[0].names else None

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
        """List the readable rows of "train", "validation" or "test"."""
        return np.flatnonzero((self.splits == split) & self.readable)


def part_rows(prepared: Prepared, card: Card, part: str) -> Rows:
    """List the readable rows that serve as "train" or "validation" under the protocol of the card, or as "test".

    heldout: "validation" is the dataset's own validation split, see `uses_own_validation`, or a seeded, stratified
    share of the training set, see `held_out`. paper: the test set is "validation", as in the published code, and the
    dataset's own validation split serves for nothing. Raises UserError if a part is empty.
    """
    if part == "validation" and card.protocol == "paper":
        rows = prepared.rows("test")
    elif part == "test" or card.protocol == "paper" or uses_own_validation(prepared, card):
        rows = prepared.rows(part)
    else:
        # Unreadable faces are split too and left out afterwards, so that they move no other face.
        rows, data = np.flatnonzero(prepared.splits == "train"), card.data
        names = prepared.ids[rows], prepared.identities[rows]
        held = held_out(
            *names, prepared.expressions[rows], fraction=data.validation_fraction, seed=data.validation_seed
        )
        rows = rows[(held if part == "validation" else ~held) & prepared.readable[rows]]
    if not len(rows):
        raise UserError(f"{card.data.folder}: no readable face is left for {part} (protocol {card.protocol})")
    return rows


def targets(prepared: Prepared, card: Card) -> NDArray[np.float32]:
    """Return what is learned of each row (n, 7), probabilities: 1 for its class, or the shares of the votes.

    A face without votes keeps its class. Raises UserError if the card asks for votes and the dataset has none.
    """
    labels = np.eye(len(Expression), dtype=np.float32)[prepared.expressions]
    if card.data.target == "label":
        return labels
    if prepared.votes is None:
        raise UserError(f"datasets.{card.dataset}.target: the faces in {card.data.folder} have no votes; write label")
    total = prepared.votes.sum(1, keepdims=True)
    return np.where(total > 0, prepared.votes / np.where(total > 0, total, 1), labels)


def uses_own_validation(prepared: Prepared, card: Card) -> bool:
    """Tell whether the dataset's own validation split selects the epoch (protocol heldout).

    Raises UserError if the card asks for it and the dataset has none.
    """
    if card.protocol == "paper" or card.data.validation_split == "seeded":
        return False
    present = bool((prepared.splits == "validation").any())
    if card.data.validation_split == "own" and not present:
        raise UserError(f"validation.split: {card.dataset} has no validation split of its own; write seeded, or auto")
    return present


def describe_validation(prepared: Prepared, card: Card) -> str:
    """Say which faces select the epoch and how many they are."""
    data = card.data
    if card.protocol == "paper":
        which = "the test set"
    elif uses_own_validation(prepared, card):
        which = "the dataset's own split"
    else:
        which = f"{100 * data.validation_fraction:g} % of the training set, seed {data.validation_seed}"
    return f"{which}, {len(part_rows(prepared, card, 'validation')):,} faces"


def held_out(
    ids: Iterable[str],
    identities: Iterable[str],
    expressions: NDArray[np.integer],
    *,
    fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose which faces validate: about `fraction` of every class, at least one of a class with two or more.

    All faces of a person go together; faces of unknown people ("") each stand alone. Class by class, the rarest first,
    people are taken until the class has its share; a person who would take a class further from its share is passed
    over, unless the class has no face yet, and no class loses all its faces for training. People are ordered by a hash
    of the seed and the person, or the id of a face alone: the order of the rows does not matter.
    """
    keys = [f"person {person}" if person else f"face {name}" for name, person in zip(ids, identities, strict=True)]
    names, person = np.unique(np.array(keys, object), return_inverse=True)
    counts = np.zeros((len(names), len(Expression)), np.int64)
    np.add.at(counts, (person, expressions), 1)
    total = counts.sum(0)
    share = np.where(total >= 2, np.maximum(np.round(total * fraction), 1), 0)
    order = np.argsort([hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in names])
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
