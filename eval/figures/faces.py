"""Single test faces and their maps in a pair of runs, without and with AU, for figures and the gallery."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS
from au_guidance.loss import cosine
from eval.metrics.cosines import attention_canvas, cam_canvas
from eval.records.predictions import Predictions, read_predictions
from pipeline.errors import UserError
from pipeline.storage.shards import ShardFolder

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
SIDES = ("plain", "au")
OPACITY = 0.6  # of a map over the face


@dataclass(frozen=True, eq=False)
class Face:
    """One test face: its row in both runs, its image (224, 224, 3), and its maps (224, 224) in [0, 1] by name.

    Maps are `heatmap`, where the face has one, and `<cam or attention>_<plain or au>`; an attention map is divided by
    its largest value. `cosines` are those with the heatmap, by the same names.
    """

    row: int
    name: str
    expression: Expression
    image: Image
    maps: dict[str, Map]
    cosines: dict[str, float]


@dataclass(frozen=True, eq=False)
class RunPair:
    """Predictions of a run without AU and of one with AU for the same faces."""

    plain: Predictions
    au: Predictions

    @property
    def layer(self) -> int:
        """The layer whose attention both show: the deepest guided one of the run with AU."""
        return self.au.layer

    @property
    def kinds(self) -> list[str]:
        """The kinds of map that both runs have."""
        both = self.plain.cam is not None and self.au.cam is not None
        return ["cam", "attention"] if both else ["attention"]

    @cached_property
    def predicted(self) -> dict[str, NDArray[np.intp]]:
        """The class (n,) that each network answers."""
        return {side: getattr(self, side).logits.argmax(axis=1) for side in SIDES}

    @cached_property
    def probabilities(self) -> dict[str, NDArray[np.float64]]:
        """The probability (n,) of the class that each network answers, in [0, 1]."""
        logits = (torch.from_numpy(getattr(self, side).logits).double() for side in SIDES)
        return {side: values.softmax(dim=1).amax(dim=1).numpy() for side, values in zip(SIDES, logits, strict=True)}

    def faces(self, rows: Sequence[int]) -> Iterator[Face]:
        """Load faces and maps by row of the predictions."""
        images = aligned(self.au, rows)
        for row, image in zip(rows, images, strict=True):
            expression = Expression(self.au.expressions[row])
            maps = {f"{kind}_{side}": self._map(kind, side, row) for kind in self.kinds for side in SIDES}
            heatmap = self.au.heatmap(row, expression) if self.au.valid[row] else None
            cosines: dict[str, float] = {}
            if heatmap is not None:
                target = torch.from_numpy(heatmap)[None]
                cosines = {name: float(cosine(torch.from_numpy(drawn)[None], target)) for name, drawn in maps.items()}
                maps["heatmap"] = heatmap
            yield Face(row, str(self.au.ids[row]), expression, image, maps, cosines)

    def _map(self, kind: str, side: str, row: int) -> Map:
        """Resize a map to the canvas as for its cosine; dividing by the maximum does not change the cosine."""
        run: Predictions = getattr(self, side)
        if kind == "cam" and run.cam is not None:
            stored = torch.from_numpy(run.cam[row : row + 1].astype(np.float32))
            return cam_canvas(stored, CANVAS)[0].numpy()
        stored = torch.from_numpy(run.attention[self.layer][row : row + 1].astype(np.float32))
        values = attention_canvas(stored, CANVAS, run.card.guidance.resize)[0].numpy()
        return divide_by_peak(values)


def read_pair(plain: Path, au: Path) -> RunPair:
    """Read the predictions of a run without AU and of one with AU; raise UserError if they are not a pair."""
    pair = RunPair(read_predictions(plain), read_predictions(au))
    cards = pair.plain.card, pair.au.card
    if cards[0].guidance.weight or not cards[1].guidance.weight:
        raise UserError(f"give the predictions without AU first, then those with AU; not {plain} and {au}")
    for key in ("dataset", "method", "protocol", "seed"):
        if getattr(cards[0], key) != getattr(cards[1], key):
            raise UserError(f"{plain} and {au} differ in {key}; give two runs that differ in their guidance only")
    if not np.array_equal(pair.plain.ids, pair.au.ids):
        raise UserError(f"{plain} and {au} are about different faces; run eval.predict on both again")
    if pair.layer not in pair.plain.attention:
        raise UserError(f"{plain} has no attention of layer {pair.layer}, which {au} guides")
    return pair


def aligned(predictions: Predictions, rows: Sequence[int]) -> list[Image]:
    """Decode the aligned faces of some rows to RGB (224, 224, 3); raise UserError if the dataset has changed."""
    wanted = {predictions.ids[row] for row in rows}
    images: dict[str, Image] = {}
    folder = predictions.card.data.folder / "faces"
    for shard in ShardFolder(folder).shards:
        stored = shard.columns("id", "jpeg", "offset")
        for number in np.flatnonzero(np.isin(stored["id"], list(wanted))):
            start, end = stored["offset"][number : number + 2]
            image = cv2.imdecode(stored["jpeg"][start:end], cv2.IMREAD_COLOR) if end > start else None
            if image is not None:
                images[stored["id"][number]] = on_canvas(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
    missing = sorted(wanted - images.keys())
    if missing:
        raise UserError(f"{folder} no longer has {missing[0]}; run eval.predict again")
    return [images[predictions.ids[row]] for row in rows]


def on_canvas(image: Image) -> Image:
    """Resize an aligned face (s, s, 3) to (224, 224, 3) for display."""
    interpolation = cv2.INTER_AREA if image.shape[0] > CANVAS else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (CANVAS, CANVAS), interpolation=interpolation), np.uint8)


def divide_by_peak(values: Map) -> Map:
    """Divide a map by its largest value for display; a map of zeros stays."""
    top = float(values.max())
    return np.asarray(values / top if top > 0 else values, np.float32)


def overlay(image: Image, values: Map, colours: str) -> Image:
    """Lay a map (h, w) in [0, 1] over the grey face (h, w, 3), in the colours of a matplotlib map."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    heat = 255 * matplotlib.colormaps[colours](np.clip(values, 0, 1))[..., :3]
    return np.rint((1 - OPACITY) * grey + OPACITY * heat).astype(np.uint8)
