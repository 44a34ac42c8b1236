"""Explain the faces of any image with a trained network: which expression it predicts, and where it looks.

Detector, alignment and preprocessing are those of the checkpoint, so none of them can be set wrong. A network whose
faces were cut by points of its dataset, or by a detector that is not here, gets `blaze`. For one that was trained
without a detector, the whole image is the face.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from inspect import signature
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from au_guidance.heatmap import CANVAS
from au_guidance.loss import attention
from eval.explain.conditions import Conditions, measure
from eval.explain.explanation import DRAWINGS, Explanation, Points, RGBImage, percent
from eval.explain.networks import load_network
from eval.explain.reading import Map
from eval.explain.turning import Search, is_doubtful, search_turned
from eval.figures.faces import on_canvas
from eval.metrics.cosines import attention_canvas, cam_canvas, min_max
from pipeline import plugins
from pipeline.crop import Crop, crop_face
from pipeline.errors import UserError
from pipeline.landmarks import place_landmarks
from pipeline.storage.landmarks import to_canvas
from train.checkpoints.checkpoint import LABELS
from train.data.transforms import resize_face, standardise, to_unit_range
from train.methods.base import Output

BATCH_SIZE = 16
FILM = {"windows": "4"}  # detector options for films: most of the time of a frame would go into tiny faces
TURNED = {"windows": "1"}  # and for turned pictures, in which only large faces are searched for
FALLBACK = "blaze"  # for checkpoints whose detector needs the dataset, or is not a plug-in (authors' checkpoints)


class LocatedFace(NamedTuple):
    """A face in an image: its box x0, y0, x1, y1 there, its crop, and the matrix (2, 3) from the image to the canvas.

    `points` are landmarks (68, 2) on the canvas or None, `quality` is theirs, `conditions` say how the face was seen.
    """

    box: Points
    crop: Crop
    matrix: Points
    points: Points | None
    quality: float
    conditions: Conditions


class Explainer:
    """Explains images with a network; raises UserError as `eval.explain.networks.load_network` does.

    With `whole_image` each image is taken for one face, cropped as the training's faces were, and no detector runs.
    """

    def __init__(self, path: str | Path, device: torch.device | str = "cpu", *, whole_image: bool = False) -> None:
        self.loaded = load_network(path)
        self.card, self.device = self.loaded.card, torch.device(device)
        self.method = self.loaded.method.to(self.device).to(memory_format=torch.channels_last)
        self.alignment = self.loaded.meta["preprocessing"]["alignment"] | ({"detector": "none"} if whole_image else {})
        self.detect_all = _detector(self.alignment)
        self.detect_turned: Search | None = _detector(self.alignment, TURNED)
        self.temperature = float(self.loaded.scores.get("temperature", 1.0))
        self.layer = max(self.card.guidance.layers)
        self.domain = self.card.data.domain
        # A temperature that was fitted to drawings says nothing about photographs.
        self.calibrated = "temperature" in self.loaded.scores and self.domain == "photographs"

    @property
    def notes(self) -> list[str]:
        """What limits all answers of the network, a sentence each."""
        notes, test = [], self.loaded.scores.get("test")
        if test:
            share = percent(test["accuracy"])
            notes.append(f"the network classifies {share} of the test faces of {test['dataset']} correctly")
        if self.domain == "drawings":
            notes.append(DRAWINGS)
        elif not self.calibrated:
            notes.append("this checkpoint has no temperature: its probabilities are not calibrated")
        return notes

    def for_films(self) -> "Explainer":
        """Return this explainer with a quicker search; options that the checkpoint's own detector was given stay.

        It misses faces below about a twentieth of a frame's longest side, and turns no frame.
        """
        other = copy(self)
        other.detect_all, other.detect_turned = _detector(self.alignment, FILM), None
        return other

    def explain(self, image: RGBImage, *, every_class: bool = False) -> list[Explanation]:
        """Explain the faces of an image, RGB (h, w, 3) uint8, from left to right; none without a face.

        `every_class` also gives the class maps of the other expressions. Raises ValueError for any other array.
        """
        return next(self.explain_all([image], every_class=every_class))

    def explain_all(
        self, images: Iterable[RGBImage], *, every_class: bool = False, batch_size: int = BATCH_SIZE
    ) -> Iterator[list[Explanation]]:
        """Explain images one after another; the network gets at most `batch_size` faces at a time.

        It reads up to `batch_size` images ahead and keeps only their crops, so one image is in memory at a time if
        `images` makes them one by one.
        """
        ahead = map(self.locate, images)
        while located := list(islice(ahead, batch_size)):
            faces = list(chain.from_iterable(located))
            explanations = self.explain_faces(faces, every_class=every_class, batch_size=batch_size)
            yield from (list(islice(explanations, len(found))) for found in located)

    def locate(self, image: RGBImage) -> list[LocatedFace]:
        """Find the faces of an image and crop them as the training faces of the checkpoint were.

        An image in which no face is found without doubt is turned by 90, 180 and 270 degrees.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"an image is RGB (h, w, 3) of uint8, not {image.shape} of {image.dtype}")
        size, mode = int(self.alignment["size"]), str(self.alignment["mode"])
        detections = self.detect_all(image)
        if self.detect_turned and all(map(is_doubtful, detections)):
            detections = search_turned(image, self.detect_turned) or detections
        whole_image = np.array([0.0, 0.0, image.shape[1], image.shape[0]]) - 0.5
        faces = []
        for detection in detections:
            crop = crop_face(image, detection, size=size, mode=mode)
            assert crop.image is not None
            assert crop.matrix is not None
            placed, quality = place_landmarks(crop, mode)
            points = None if placed is None else to_canvas(placed, size)
            scale = CANVAS / size
            matrix = crop.matrix * scale + (0, 0, 0.5 * scale - 0.5)
            conditions = measure(crop.image, matrix, image.shape, points)
            box = whole_image if detection is None else detection.box
            faces.append(LocatedFace(box, crop, matrix, points, quality, conditions))
        return faces

    def explain_faces(
        self, faces: Sequence[LocatedFace], *, every_class: bool = False, batch_size: int = BATCH_SIZE
    ) -> Iterator[Explanation]:
        """Explain faces that `locate` returned, at most `batch_size` in one forward pass."""
        for start in range(0, len(faces), batch_size):
            yield from self._explain(faces[start : start + batch_size], every_class)

    def _explain(self, faces: Sequence[LocatedFace], every_class: bool) -> Iterator[Explanation]:
        """Explain faces in one forward pass."""
        output = self._forward([face.crop.image for face in faces if face.crop.image is not None])
        logits = output.logits.detach().double().cpu()
        if not torch.isfinite(logits).all():
            raise UserError("the network's outputs are not finite; train it again")
        probabilities = (logits / self.temperature).softmax(1).tolist()
        cams = self._cams(output, logits.argsort(1, descending=True)[:, : len(LABELS) if every_class else 2])
        attentions = self._attention(output)
        for row, (box, crop, matrix, points, quality, conditions) in enumerate(faces):
            assert crop.image is not None
            yield Explanation(
                box=box,
                matrix=matrix,
                face=on_canvas(crop.image),
                status=crop.status,
                step=crop.step,
                score=crop.score,
                quality=quality,
                probabilities=dict(zip(LABELS, probabilities[row], strict=True)),
                calibrated=self.calibrated,
                cams=cams[row],
                attention={layer: maps[row] for layer, maps in attentions.items()},
                layer=self.layer,
                points=points,
                heatmap=self.card.heatmap,
                domain=self.domain,
                conditions=conditions,
            )

    def _forward(self, crops: Sequence[RGBImage]) -> Output:
        faces = np.stack([resize_face(crop, self.card.model.image_size) for crop in crops])
        images = standardise(to_unit_range(torch.from_numpy(faces).to(self.device)), self.card.model.normalisation)
        with torch.set_grad_enabled(self.method.needs_gradient):
            output: Output = self.method(images.contiguous(memory_format=torch.channels_last))
        return output

    def _cams(self, output: Output, ranked: Tensor) -> list[dict[str, Map]]:
        """Return {label: (224, 224)} of each face for its `ranked` class ids (b, k); empty without class maps."""
        with torch.set_grad_enabled(self.method.needs_gradient):
            maps = [self.method.cam(output, classes) for classes in ranked.unbind(1)]
        cams = [cam_canvas(min_max(cam.detach().float()), CANVAS).cpu().numpy() for cam in maps if cam is not None]
        return [
            {LABELS[label]: cam[row] for label, cam in zip(labels, cams, strict=False)}
            for row, labels in enumerate(ranked.tolist())
        ]

    def _attention(self, output: Output) -> dict[int, NDArray[np.float32]]:
        """Return the attention (b, 224, 224) of each layer."""
        mode = self.card.guidance.resize
        return {
            layer: attention_canvas(attention(features.detach()).float(), CANVAS, mode).cpu().numpy()
            for layer, features in sorted(output.features.items())
        }


def _detector(alignment: Mapping[str, Any], defaults: Mapping[str, str] | None = None) -> Search:
    """Return the function that finds all faces as those of a checkpoint's training were found; None is the image.

    `defaults` are options for the detector, if it has them; those of the checkpoint come first.
    """
    name = str(alignment["detector"])
    if name == "none":
        return lambda image: [None]
    own = name in plugins.names("pipeline.detectors") and hasattr(
        plugins.load("pipeline.detectors", name), "detect_all"
    )
    detect_all = plugins.load("pipeline.detectors", name if own else FALLBACK).detect_all
    options = {key: value for key, value in (defaults or {}).items() if key in signature(detect_all).parameters}
    return partial(detect_all, **options | (json.loads(alignment.get("detector_options", "{}")) if own else {}))
