"""What a network said about the test faces, as read back from disk."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from au_guidance.expressions import SIX, Expression
from au_guidance.heatmap import CANVAS, Heatmap, draw, draw_units
from pipeline.errors import UserError
from pipeline.storage.shards import Shard, ShardFolder
from pipeline.types import ACTIVE_AUS
from train.card.checks import describe_error
from train.card.schema import Card
from train.data.prepared import ATTRIBUTE

# Every score needs these, also of a network without a class activation map.
REQUIRED = ("id", "expression", "valid", "logits")
DETECTION = ("face", "step", "score", "landmark_quality")  # how a face was found; absent in files of earlier versions
MODE_BEFORE = "corrected"  # how faces were cut where files do not say: those of earlier versions
ORDERED = tuple(sorted(SIX))  # the six expressions in the order of their class ids; axes of six run along it


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for n faces; maps are at native size, see `eval.predict` for their scale.

    `expressions` (n,) are true class ids, `logits` (n, 7) in the order of `Expression`; `valid` (n,) is True for a face
    with an AU heatmap; `attention` {layer: (n, h, w)}; `cam` (n, h, w) of the true class, or None for a method without;
    `attributes` {name: (n,)} are words, "" where unknown; `detection` {name: (n,)} has the known ones of DETECTION;
    `mode` is how the faces were cut, one of `pipeline.geometry.MODES`.
    """

    path: Path
    card: Card
    checkpoint: str
    commit: str
    mode: str
    ids: NDArray[np.object_]
    expressions: NDArray[np.int8]
    valid: NDArray[np.bool_]
    logits: NDArray[np.float32]
    attention: dict[int, NDArray[np.float16]]
    cam: NDArray[np.float16] | None
    attributes: dict[str, NDArray[np.object_]]
    detection: dict[str, NDArray[Any]]

    @property
    def layer(self) -> int:
        """The guided layer nearest the output, which tables and pictures show."""
        return max(self.card.guidance.layers)

    @property
    def maps(self) -> dict[str, NDArray[np.float16]]:
        """The maps by kind: "cam", if there is one, and "attention", of the deepest guided layer."""
        return ({} if self.cam is None else {"cam": self.cam}) | {"attention": self.attention[self.layer]}

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class id (n,) that the network predicts."""
        classes: NDArray[np.int64] = self.logits.argmax(axis=1)
        return classes

    @cached_property
    def heatmap_shards(self) -> ShardFolder:
        """The heatmap shards of the dataset, verified once."""
        return ShardFolder(self.card.data.folder / "heatmaps")

    @cached_property
    def shapes(self) -> NDArray[np.float32]:
        """The AU shapes (n, s, 5) of the faces, NaN without landmarks; UserError if the data is no longer the same."""
        stored = self.heatmap_shards.columns("id", "shapes")
        places = {name: place for place, name in enumerate(stored["id"])}
        other = self.heatmap_shards.attributes["geometry"] != self.card.heatmap.geometry
        if other or not places.keys() >= set(self.ids):
            raise self._changed()
        return stored["shapes"][[places[name] for name in self.ids]]

    @property
    def without_landmarks(self) -> NDArray[np.bool_]:
        """True (n,) for a face whose landmarks were not found, of whatever expression."""
        return np.array([np.isnan(face).any() for face in self.shapes], bool)

    def class_heatmaps(self, size: int = 16) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Yield rows (b,) of valid faces and the AU heatmaps (b, 6, 224, 224) that each of ORDERED would have on them.

        Zeros where all AUs of an expression lie outside the image.
        """
        rows = np.flatnonzero(self.valid)
        for batch in (rows[start : start + size] for start in range(0, len(rows), size)):
            maps = np.zeros((len(batch), len(ORDERED), CANVAS, CANVAS), np.float32)
            for place, row in enumerate(batch):
                for number, expression in enumerate(ORDERED):
                    own = expression == self.expressions[row]
                    drawn = self.own_heatmap(row) if own else self.heatmap(row, expression)
                    if drawn is not None:
                        maps[place, number] = drawn
            yield batch, maps

    def heatmap(self, row: int, expression: Expression) -> Heatmap | None:
        """Draw the AU heatmap (224, 224) that an expression has on the face of a row, if any."""
        wanted = self.card.heatmap
        return draw(self.shapes[row], expression, codebook=wanted.codebook, geometry=wanted.geometry)

    def own_heatmap(self, row: int) -> Heatmap:
        """Draw the AU heatmap (224, 224) of the true class of a valid face; UserError if the data has changed."""
        drawn = self.heatmap(row, Expression(self.expressions[row]))
        if drawn is None:
            raise self._changed()
        return drawn

    def true_heatmap(self, row: int) -> Heatmap | None:
        """Draw the map (224, 224) of the AUs that a row's face truly shows; None if it has none or nobody knows."""
        listed = self.attributes[ACTIVE_AUS][row] if ACTIVE_AUS in self.attributes else ""
        aus = [int(au) for au in listed.split(";") if au]
        return draw_units(self.shapes[row], aus, geometry=self.card.heatmap.geometry)

    def _changed(self) -> UserError:
        folder = self.card.data.folder / "heatmaps"
        return UserError(f"{folder} has changed since {self.path} was made; run eval.predict again")


def identity(card: Card) -> dict[str, Any]:
    """Name the run of a card as all files do that are about it (`eval.records.runs` reads these keys)."""
    return {
        "dataset": card.dataset,
        "method": card.method,
        "variant": card.variant,
        "weight": card.guidance.weight,
        "layers": list(card.guidance.layers),
        "map": card.guidance.map,
        "seed": card.seed,
        "protocol": card.protocol,
    }


def read_predictions(path: Path) -> Predictions:
    """Read a file of `eval.predict`; raise UserError if it is missing, damaged or something else."""
    shard = Shard(path)
    columns, stored = shard.columns(), shard.attributes
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise UserError(f"{path} is no predictions file (it has no {missing[0]}); make one with python -m eval.predict")
    try:
        card, checkpoint, commit = Card.model_validate_json(stored["card"]), stored["checkpoint"], stored["commit"]
    except KeyError as error:
        raise UserError(f"{path} does not say its {error}; make it again with python -m eval.predict") from None
    except ValidationError as error:
        raise UserError(
            f"{path} was made by another version ({describe_error(error)}); run eval.predict again"
        ) from None
    layers = sorted(int(match[1]) for name in columns if (match := re.fullmatch(r"attention_(\d+)", name)))
    return Predictions(
        path=path,
        card=card,
        checkpoint=checkpoint,
        commit=commit,
        mode=str(stored.get("mode", MODE_BEFORE)),
        ids=columns["id"],
        expressions=columns["expression"],
        valid=columns["valid"],
        logits=columns["logits"],
        attention={layer: columns[f"attention_{layer}"] for layer in layers},
        cam=columns.get("cam"),
        attributes={name[len(ATTRIBUTE) :]: column for name, column in columns.items() if name.startswith(ATTRIBUTE)},
        detection={name: columns[name] for name in DETECTION if name in columns},
    )
