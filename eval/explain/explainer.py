"""Explain the faces of any image with a trained network: which expression it predicts, and where it looks.

Detection, alignment and preprocessing are those of the checkpoint, so none of them can be set wrong. dlib finds the
faces; for a network that was trained without a detector, the whole image is the face.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.expressions import Expression
from au_guidance.heatmap import CANVAS, shapes
from au_guidance.loss import attention
from eval.explain.explanation import Explanation, Map, RGBImage
from eval.explain.reading import Reading, au_table, read_map
from eval.figures.faces import on_canvas
from eval.metrics.cosines import attention_canvas, cam_canvas, min_max
from pipeline import plugins
from pipeline.align import Crop, crop_face
from pipeline.errors import UserError
from pipeline.landmarks import place_landmarks
from pipeline.storage.landmarks import to_canvas
from pipeline.types import Detection
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import LABELS
from train.data.transforms import resize_face, standardise, to_unit_range
from train.methods.base import Output

BATCH_SIZE = 16
Points = NDArray[np.float64]
LOW_PROBABILITY = 0.5  # below which the network is called unsure


class LocatedFace(NamedTuple):
    """A face in an image: its box x0, y0, x1, y1 there, its crop, and landmarks (68, 2) on the canvas or None."""

    box: Points
    crop: Crop
    points: Points | None


class Answer(NamedTuple):
    """The network's answer about one face: probabilities by expression, class maps by expression, attention by layer.

    Maps are (224, 224); `cams` is empty for a method without class maps.
    """

    probabilities: dict[str, float]
    cams: dict[str, Map]
    attention: dict[int, Map]


class Explainer:
    """Explains images with a checkpoint's network; raises UserError as `train.checkpoints.checkpoint.load` does."""

    def __init__(self, path: str | Path, device: torch.device | str = "cpu") -> None:
        self.loaded = checkpoint.load(path)
        self.card, self.device = self.loaded.card, torch.device(device)
        self.method = self.loaded.method.to(self.device).to(memory_format=torch.channels_last)
        self.alignment = self.loaded.meta["preprocessing"]["alignment"]
        self.temperature = float(self.loaded.scores.get("temperature", 1.0))
        self.layer = max(self.card.guidance.layers)

    def explain(self, image: RGBImage, *, every_class: bool = False) -> list[Explanation]:
        """Explain the faces of an image, RGB (h, w, 3) uint8, the most certain detection first; none without a face.

        `every_class` also gives the class maps of the other expressions. Raises ValueError for any other array.
        """
        return next(self.explain_all([image], every_class=every_class))

    def explain_all(
        self, images: Iterable[RGBImage], *, every_class: bool = False, batch_size: int = BATCH_SIZE
    ) -> Iterator[list[Explanation]]:
        """Explain images one after another; the network gets at most `batch_size` faces at a time."""
        rest = iter(images)
        while batch := list(islice(rest, batch_size)):
            located = [self.locate(image) for image in batch]
            explanations = self._explain([face for faces in located for face in faces], every_class, batch_size)
            yield from (list(islice(explanations, len(faces))) for faces in located)

    def locate(self, image: RGBImage) -> list[LocatedFace]:
        """Find the faces of an image and crop them as the training faces of the checkpoint were."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"an image is RGB (h, w, 3) of uint8, not {image.shape} of {image.dtype}")
        size, mode = int(self.alignment["size"]), str(self.alignment["mode"])
        detections: Sequence[Detection | None] = [None]
        if self.alignment["detector"] != "none":
            detections = plugins.load("pipeline.detectors", "dlib").detect_all(image)
        crops = [crop_face(image, detection, size=size, mode=mode) for detection in detections]
        whole_image = np.array([0.0, 0.0, image.shape[1], image.shape[0]]) - 0.5
        boxes = [whole_image if detection is None else detection.box for detection in detections]
        return [LocatedFace(box, crop, _landmarks(crop, size)) for box, crop in zip(boxes, crops, strict=True)]

    def _explain(self, faces: Sequence[LocatedFace], every_class: bool, batch_size: int) -> Iterator[Explanation]:
        for start in range(0, len(faces), batch_size):
            batch = faces[start : start + batch_size]
            for face, answer in zip(batch, self._answers(batch, every_class), strict=True):
                yield self._explanation(face, answer)

    def _answers(self, faces: Sequence[LocatedFace], every_class: bool) -> list[Answer]:
        output = self._forward([face.crop.image for face in faces if face.crop.image is not None])
        logits = output.logits.detach().double().cpu()
        if not torch.isfinite(logits).all():
            raise UserError("the network's outputs are not finite; train it again")
        ranked = logits.argsort(1, descending=True)[:, : len(LABELS) if every_class else 2]
        probabilities = (logits / self.temperature).softmax(1).tolist()
        cams, attentions = self._cams(output, ranked), self._attention(output)
        return [
            Answer(
                dict(zip(LABELS, probabilities[row], strict=True)),
                cams[row],
                {layer: maps[row] for layer, maps in attentions.items()},
            )
            for row in range(len(faces))
        ]

    def _forward(self, crops: Sequence[RGBImage]) -> Output:
        faces = np.stack([resize_face(crop, self.card.model.image_size) for crop in crops])
        images = standardise(to_unit_range(torch.from_numpy(faces).to(self.device)), self.card.model.normalisation)
        with torch.set_grad_enabled(self.method.needs_gradient):
            output: Output = self.method(images.contiguous(memory_format=torch.channels_last))
        return output

    def _cams(self, output: Output, ranked: Tensor) -> list[dict[str, Map]]:
        """Return the class maps {label: (224, 224)} of each face for its `ranked` class ids (b, k)."""
        with torch.set_grad_enabled(self.method.needs_gradient):
            maps = [self.method.cam(output, classes) for classes in ranked.unbind(1)]
        ranks = [cam_canvas(min_max(cam.detach().float()), CANVAS).cpu().numpy() for cam in maps if cam is not None]
        if not ranks:
            return [{} for _ in ranked]
        return [
            {LABELS[label]: cam[row] for label, cam in zip(labels, ranks, strict=True)}
            for row, labels in enumerate(ranked.tolist())
        ]

    def _attention(self, output: Output) -> dict[int, Map]:
        """Return the attention (b, 224, 224) of each layer."""
        return {
            layer: attention_canvas(attention(features.detach()).float(), CANVAS, self.card.guidance.resize)
            .cpu()
            .numpy()
            for layer, features in sorted(output.features.items())
        }

    def _explanation(self, face: LocatedFace, answer: Answer) -> Explanation:
        assert face.crop.image is not None
        assert face.crop.matrix is not None
        au_shapes = None if face.points is None else shapes(face.points, self.card.heatmap.geometry)
        ranked = sorted(answer.probabilities, key=lambda label: -answer.probabilities[label])
        readings, action_units = self._read_maps(answer, ranked, face.points, au_shapes)
        return Explanation(
            box=face.box,
            matrix=_to_canvas(face.crop.matrix, int(self.alignment["size"])),
            face=on_canvas(face.crop.image),
            status=face.crop.status,
            probabilities=answer.probabilities,
            calibrated="temperature" in self.loaded.scores,
            cams=answer.cams,
            attention=answer.attention,
            layer=self.layer,
            points=face.points,
            shapes=au_shapes,
            readings=readings,
            action_units=action_units,
            warnings=tuple(_warnings(answer.probabilities, ranked, readings, face.points)),
        )

    def _read_maps(
        self, answer: Answer, ranked: Sequence[str], points: Points | None, au_shapes: Points | None
    ) -> tuple[dict[str, tuple[Reading, ...]], dict[str, list[dict[str, Any]]]]:
        """Read class maps and attention in action units, for the predicted expression and the runner-up."""
        if points is None or au_shapes is None:
            return {}, {}
        attentions = [answer.attention[self.layer]] * 2
        maps = {"cam": [answer.cams[label] for label in ranked[:2]]} if answer.cams else {}
        maps["attention"] = attentions
        readings = {
            kind: tuple(
                read_map(values, Expression.parse(label), au_shapes, points, self.card.heatmap)
                for values, label in zip(pair, ranked, strict=False)
            )
            for kind, pair in maps.items()
        }
        return readings, {kind: au_table(pair[0], au_shapes, self.card.heatmap) for kind, pair in maps.items()}


def _landmarks(crop: Crop, size: int) -> Points | None:
    """Place landmarks on a crop as the extractor dlib does, and rescale them to the canvas."""
    points = place_landmarks(crop, "dlib")
    return None if points is None else to_canvas(points, size)


def _warnings(
    probabilities: dict[str, float],
    ranked: Sequence[str],
    readings: dict[str, tuple[Reading, ...]],
    points: Points | None,
) -> Iterator[str]:
    if probabilities[ranked[0]] < LOW_PROBABILITY:
        first, second = (f"{label} {probabilities[label]:.2f}" for label in ranked[:2])
        yield f"the network is unsure: {first}, {second}"
    if points is None:
        yield "no landmarks were found, so the map cannot be read in action units"
    if readings:
        predicted, _ = next(iter(readings.values()))
        yield from predicted.warnings


def _to_canvas(matrix: Points, size: int) -> Points:
    """Rescale a matrix that maps to a crop of `size` pixels so that it maps to the canvas."""
    scale = CANVAS / size
    scaled = matrix * scale
    scaled[:, 2] += 0.5 * scale - 0.5
    return scaled
