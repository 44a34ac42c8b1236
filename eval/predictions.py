"""What a network said about the test faces, as read back from disk."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline import shards
from pipeline.action_units import draw
from pipeline.errors import UserError
from pipeline.expressions import Expression
from train.config import Card, explain
from train.data import described

# Every score needs these, also of a network without a class activation map.
REQUIRED = ("id", "expression", "valid", "logits")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for n faces; maps are at native size, see `eval.predict` for their scale.

    `expressions` (n,) are true class ids, `logits` (n, 7) in the order of `Expression`; `valid` (n,) is True for a face
    with an AU heatmap; `attention` {layer: (n, h, w)}; `cam` (n, h, w) of the true class, or None for a method without.
    """

    path: Path
    card: Card
    checkpoint: str
    commit: str
    ids: NDArray[np.object_]
    expressions: NDArray[np.int8]
    valid: NDArray[np.bool_]
    logits: NDArray[np.float32]
    attention: dict[int, NDArray[np.float16]]
    cam: NDArray[np.float16] | None

    @property
    def layer(self) -> int:
        """The guided layer nearest the output, which tables and pictures show."""
        return max(self.card.guidance.layers)

    def heatmaps(self, size: int = 32) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Yield rows (b,) of valid faces and their AU heatmaps (b, 224, 224), of the true class, in order."""
        folder, wanted = self.card.data.folder / "heatmaps", self.card.heatmap
        same = described(folder)["geometry"] == wanted.geometry
        stored = shards.read_all(folder, "id", "shapes")
        shapes = dict(zip(stored["id"], stored["shapes"], strict=True))
        rows = np.flatnonzero(self.valid)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            faces = ((shapes.get(self.ids[row]), Expression(self.expressions[row])) for row in batch)
            drawn = (
                None if face is None else draw(face, expression, codebook=wanted.codebook, geometry=wanted.geometry)
                for face, expression in faces
            )
            maps = [heatmap for heatmap in drawn if heatmap is not None]
            if len(maps) < len(batch) or not same:
                raise UserError(f"{folder} has changed since {self.path} was made; run eval.predict again")
            yield batch, np.stack(maps)


def read(path: Path) -> Predictions:
    """Read a file of `eval.predict`; raise UserError if it is missing, damaged or something else."""
    columns = shards.read(path)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise UserError(f"{path} is no predictions file (it has no {missing[0]}); make one with python -m eval.predict")
    stored = shards.attributes(path)
    try:
        card, checkpoint, commit = Card.model_validate_json(stored["card"]), stored["checkpoint"], stored["commit"]
    except KeyError as error:
        raise UserError(f"{path} does not say its {error}; make it again with python -m eval.predict") from None
    except ValidationError as error:
        raise UserError(f"{path} was made by another version ({explain(error)}); run eval.predict again") from None
    layers = {int(match[1]): name for name in columns if (match := re.fullmatch(r"attention_(\d+)", name))}
    return Predictions(
        path=path,
        card=card,
        checkpoint=checkpoint,
        commit=commit,
        ids=columns["id"],
        expressions=columns["expression"],
        valid=columns["valid"],
        logits=columns["logits"],
        attention={layer: columns[layers[layer]] for layer in sorted(layers)},
        cam=columns.get("cam"),
    )
