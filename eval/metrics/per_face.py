"""Predictions to numbers for each face: one pass over the test faces, a few at a time, so that memory stays small."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.heatmap import CANVAS
from au_guidance.loss import resize
from eval.metrics import discrimination
from eval.metrics.baseline_maps import BaselineMaps
from eval.metrics.baselines import PREFIX
from eval.metrics.cosines import ResizeMode, attention_canvas, cam_canvas, l2_normalise, map_cosine, min_max
from eval.metrics.discrimination import Gallery
from eval.metrics.localisation import localisation
from eval.metrics.training_means import TrainingMeans
from eval.records.predictions import ORDERED, Predictions
from pipeline.errors import UserError
from pipeline.types import ACTIVE_AUS

CAM, ATTENTION = "cam", "attention"

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FaceMeasures:
    """Numbers of the n faces of a predictions file, NaN where one is not defined, as for a face without AU heatmap.

    `kinds` are "cam", if there is one, and "attention", of the deepest guided layer. `values` {column: (n,)}:

    - `<kind>_<measure>`, see `eval.metrics.names.MEASURES`, and `attention_cosine_<layer>` of every layer;
    - `baseline_<name>`: the cosine of a baseline that both kinds share; `<kind>_baseline_<name>`: of one that they do
      not;
    - `<kind>_truth` and `heatmap_truth`: cosine of a map, and of the AU heatmap, with the map of the truly active AUs.

    `matched` {kind: (n,)} is the class id of a map's best match among the six, -1 for none.
    """

    kinds: tuple[str, ...]
    values: dict[str, Numbers] = field(default_factory=dict)
    matched: dict[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Faces with an AU heatmap: their rows, true and predicted class ids, heatmaps, and all heatmaps of norm 1."""

    rows: NDArray[np.intp]
    expressions: NDArray[np.int8]
    predicted: NDArray[np.int64]
    heatmaps: Tensor
    six: Tensor
    own: Tensor


def attention_name(layer: int) -> str:
    """Return the column of a layer's ATT-COS."""
    return f"attention_cosine_{layer}"


def measure_faces(
    predictions: Predictions, means: TrainingMeans | None = None, untrained: Predictions | None = None
) -> FaceMeasures:
    """Take every measure of every valid face.

    Baselines from training faces need `means`, that of random weights needs `untrained`. Maps and heatmaps are compared
    on the 224-px canvas; a card with `resize: published` has its attention read out in the published way, with which it
    was trained. Raises UserError if a file does not belong to the others or holds what is not finite.
    """
    _check(predictions, means, untrained)
    kinds = tuple(predictions.maps)
    baselines, gallery = BaselineMaps(means), Gallery(predictions)
    count = len(predictions.ids)
    measured = FaceMeasures(kinds, matched={kind: np.full(count, discrimination.NOTHING) for kind in kinds})
    for batch in _batches(predictions):
        shared = baselines.cosines(batch.own, batch.expressions, batch.predicted)
        shared["other_face"] = gallery.mean_cosine(batch.own, batch.rows, batch.expressions)
        columns = {PREFIX + name: values for name, values in shared.items()} | _truth(predictions, batch)
        for kind in kinds:
            of_kind, matched = _kind(predictions, kind, batch, gallery, untrained)
            columns |= {f"{kind}_{name}": values for name, values in of_kind.items()}
            measured.matched[kind][batch.rows] = matched
        columns |= _layers(predictions, batch, columns[f"{ATTENTION}_cosine"])
        for name, values in columns.items():
            measured.values.setdefault(name, np.full(count, np.nan))[batch.rows] = values
    return measured


def _check(predictions: Predictions, means: TrainingMeans | None, untrained: Predictions | None) -> None:
    card = predictions.card
    if not predictions.valid.any():
        raise UserError(f"{predictions.path}: no test face has an AU heatmap; check the landmarks of the dataset")
    if predictions.layer not in predictions.attention:
        raise UserError(f"{predictions.path} has no attention of layer {predictions.layer}; run eval.predict again")
    if means is not None:
        means.check(predictions.heatmap_shards, card.heatmap)
    if untrained is None:
        return
    other = untrained.card
    same = np.array_equal(untrained.ids, predictions.ids) and other.method == card.method
    if not same or other.model != card.model or untrained.maps.keys() != predictions.maps.keys():
        raise UserError(f"{untrained.path} is of another network or other faces than {predictions.path}; make it again")


def _batches(predictions: Predictions) -> Iterator[_Batch]:
    for rows, drawn in predictions.class_heatmaps():
        expressions = predictions.expressions[rows]
        heatmaps, places = torch.from_numpy(drawn), np.searchsorted(np.array(ORDERED), expressions)
        six, each = l2_normalise(heatmaps), np.arange(len(rows))
        yield _Batch(
            rows, expressions, predictions.predicted[rows], heatmaps[each, places].contiguous(), six, six[each, places]
        )


def _layers(predictions: Predictions, batch: _Batch, guided: Numbers) -> dict[str, Numbers]:
    """Take the ATT-COS of every layer; that of the deepest guided one is known."""
    cosines = {attention_name(layer): guided for layer in predictions.attention}
    for layer in predictions.attention.keys() - {predictions.layer}:
        canvas = _canvas(predictions, ATTENTION, predictions.attention[layer][batch.rows])
        cosines[attention_name(layer)] = map_cosine(canvas, batch.heatmaps)
    return cosines


def _truth(predictions: Predictions, batch: _Batch) -> dict[str, Numbers]:
    """Compare with the map of the truly active AUs, where the dataset knows them."""
    if ACTIVE_AUS not in predictions.attributes:
        return {}
    drawn = [predictions.true_heatmap(row) for row in batch.rows]
    known = np.array([heatmap is not None for heatmap in drawn])
    empty = np.zeros((CANVAS, CANVAS), np.float32)
    truth = torch.from_numpy(np.stack([empty if heatmap is None else heatmap for heatmap in drawn]))
    canvases = {kind: _canvas(predictions, kind, maps[batch.rows]) for kind, maps in predictions.maps.items()}
    compared = {"heatmap": batch.heatmaps} | canvases
    return {f"{name}_truth": np.where(known, map_cosine(maps, truth), np.nan) for name, maps in compared.items()}


def _kind(
    predictions: Predictions, kind: str, batch: _Batch, gallery: Gallery, untrained: Predictions | None
) -> tuple[dict[str, Numbers], NDArray[np.int64]]:
    canvas = _canvas(predictions, kind, predictions.maps[kind][batch.rows])
    rows = l2_normalise(canvas)
    cosines = discrimination.class_cosines(rows, batch.six)
    matched = discrimination.best_match(cosines)
    own = map_cosine(canvas, batch.heatmaps)
    others = gallery.mean_cosine(rows, batch.rows, batch.expressions)
    side, mode = predictions.maps[kind].shape[-1], predictions.card.guidance.resize
    ceiling = through_grid(kind, batch.heatmaps, side, mode)
    columns = {
        "cosine": own,
        **localisation(canvas, batch.heatmaps),
        "own_minus_other": discrimination.own_minus_other(cosines, batch.expressions),
        "retrieval_true": discrimination.retrieval(matched, batch.expressions),
        "retrieval_predicted": discrimination.retrieval(matched, batch.predicted),
        "specificity": discrimination.specificity(own, others),
        f"{PREFIX}ceiling": map_cosine(ceiling, batch.heatmaps),
    }
    if untrained is not None:
        random = _canvas(untrained, kind, untrained.maps[kind][batch.rows])
        columns[f"{PREFIX}untrained"] = map_cosine(random, batch.heatmaps)
    return columns, matched


def _canvas(predictions: Predictions, kind: str, maps: NDArray[np.float16]) -> Tensor:
    values = torch.from_numpy(maps.astype(np.float32))
    if not torch.isfinite(values).all():
        raise UserError(f"{predictions.path} holds maps that are not finite; run eval.predict again")
    if kind == CAM:
        return cam_canvas(values, CANVAS)
    return attention_canvas(values, CANVAS, predictions.card.guidance.resize)


def through_grid(kind: str, heatmaps: Tensor, side: int, mode: ResizeMode) -> Tensor:
    """Bring AU heatmaps (b, s, s) to the grid (side, side) of a layer as its AU term does, and back to the canvas.

    A network whose loss is zero shows this. A least-squares fit on the grid can come a little closer.
    """
    if kind == CAM:
        return cam_canvas(min_max(resize(heatmaps, side, "half_pixel")), CANVAS)
    return attention_canvas(resize(heatmaps, side, mode), CANVAS, mode)
