"""A checkpoint asked about any picture: which faces are in it, what they express, and where the network looks.

Detection, alignment and preprocessing are those of the checkpoint, so that nothing can be set wrong. Faces are found by
dlib; a network that was trained on crops without a detector takes a picture whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from eval.explain import reading
from eval.explain.reading import Reading
from eval.figures.faces import on_canvas
from eval.metrics import classification
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

BATCH = 16
Picture = NDArray[np.uint8]
Map = NDArray[np.float32]


class Found(NamedTuple):
    """A face in a picture: its box x0, y0, x1, y1 there, its crop, and landmarks (68, 2) on the canvas or None."""

    box: NDArray[np.float64]
    crop: Crop
    points: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Explanation:
    """One face of a picture, and why the network says what it says.

    `box` x0, y0, x1, y1 in pixels of the picture; `matrix` (2, 3) leads from there to the `face`, RGB (224, 224, 3);
    `status` as in `pipeline.align`. `probabilities` of all classes are calibrated if `calibrated`. `cams` {label: map
    (224, 224) in [0, 1]} of the predicted class and the runner-up, or of all, empty for a method without;
    `attention` {layer: map (224, 224) >= 0}. `points` (68, 2) and AU `shapes` (s, 5) on that canvas, None without
    landmarks; then there are no `readings` either. These are keyed by the map, `cam` or `attention`, and hold the
    predicted class and the runner-up.
    """

    box: NDArray[np.float64]
    matrix: NDArray[np.float64]
    face: Picture
    status: str
    probabilities: dict[str, float]
    calibrated: bool
    cams: dict[str, Map]
    attention: dict[int, Map]
    layer: int
    points: NDArray[np.float64] | None
    shapes: NDArray[np.float64] | None
    readings: dict[str, tuple[Reading, ...]]
    action_units: dict[str, list[dict[str, Any]]]
    warnings: tuple[str, ...]

    @property
    def label(self) -> str:
        """The expression with the highest probability."""
        return self.ranked[0]

    @property
    def ranked(self) -> list[str]:
        """All expressions, the most probable first."""
        return sorted(self.probabilities, key=lambda label: -self.probabilities[label])

    @property
    def words(self) -> list[str]:
        """The answer in sentences: the predicted class and the runner-up with their action units, then warnings."""
        found = next(iter(self.readings.values()), ())
        said = {one.expression: f": {one.words}" for one in found}
        lines = [f"{label} {self.probabilities[label]:.2f}{said.get(label, '')}" for label in self.ranked[:2]]
        return [lines[0], f"then {lines[1]}", *(f"careful: {warning}" for warning in self.warnings)]


class Explainer:
    """A checkpoint that explains pictures; raises UserError as `train.checkpoints.checkpoint.load` does."""

    def __init__(self, path: str | Path, device: torch.device | str = "cpu") -> None:
        self.loaded = checkpoint.load(path)
        self.card, self.device = self.loaded.card, torch.device(device)
        self.method = self.loaded.method.to(self.device).to(memory_format=torch.channels_last)
        self.alignment = self.loaded.meta["preprocessing"]["alignment"]
        self.temperature = float(self.loaded.scores.get("temperature", 1.0))
        self.layer = max(self.card.guidance.layers)

    def explain(self, picture: Picture, *, every_class: bool = False) -> list[Explanation]:
        """Explain the faces of a picture, RGB (h, w, 3) uint8, the surest first; none if no face is found.

        `every_class` also gives the CAM of each other class.
        """
        return next(self.explain_all([picture], every_class=every_class))

    def explain_all(
        self, pictures: Iterable[Picture], *, every_class: bool = False, batch: int = BATCH
    ) -> Iterator[list[Explanation]]:
        """Explain pictures one after another, `batch` of them at a time through the network."""
        rest = iter(pictures)
        while some := list(islice(rest, batch)):
            found = [self.locate(picture) for picture in some]
            made = iter(self._explained([face for faces in found for face in faces], every_class, batch))
            yield from ([next(made) for _ in faces] for faces in found)

    def locate(self, picture: Picture) -> list[Found]:
        """Find the faces of a picture and cut them out as the checkpoint's training faces were."""
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"a picture is RGB (h, w, 3) of uint8, not {picture.shape} of {picture.dtype}")
        size, mode = int(self.alignment["size"]), str(self.alignment["mode"])
        detections: Sequence[Detection | None] = [None]
        if self.alignment["detector"] != "none":
            detections = plugins.load("pipeline.detectors", "dlib").detect_all(picture)
        crops = [crop_face(picture, detection, size=size, mode=mode) for detection in detections]
        height, width = picture.shape[:2]
        boxes = [np.array([0.0, 0.0, width, height]) - 0.5 if one is None else one.box for one in detections]
        return [Found(box, crop, _landmarks(crop, size)) for box, crop in zip(boxes, crops, strict=True)]

    def _explained(self, faces: Sequence[Found], every_class: bool, batch: int) -> Iterator[Explanation]:
        for start in range(0, len(faces), batch):
            part = faces[start : start + batch]
            probabilities, cams, looked = self._forward(part, every_class)
            for number, face in enumerate(part):
                yield self._explanation(
                    face,
                    dict(zip(LABELS, probabilities[number].tolist(), strict=True)),
                    {label: maps[number] for label, maps in cams[number].items()} if cams else {},
                    {layer: maps[number] for layer, maps in looked.items()},
                )

    def _forward(
        self, faces: Sequence[Found], every_class: bool
    ) -> tuple[NDArray[np.float64], list[dict[str, Any]], dict[int, NDArray[np.float32]]]:
        """Return probabilities (b, 7), for each face {label: maps (b, s, s)} of its classes, and attention maps."""
        crops = [face.crop.image for face in faces]
        side = self.card.model.image_size
        given = np.stack([resize_face(crop, side) for crop in crops if crop is not None])
        images = standardise(to_unit_range(torch.from_numpy(given).to(self.device)), self.card.model.normalisation)
        with torch.set_grad_enabled(self.method.needs_gradient):
            output = self.method(images.contiguous(memory_format=torch.channels_last))
        logits = output.logits.detach().double().cpu()
        if not torch.isfinite(logits).all():
            raise UserError("the network's answers are not finite; train it again")
        order = logits.argsort(1, descending=True)
        count = len(LABELS) if every_class else 2
        ranks = [self._cam(output, order[:, rank]) for rank in range(count)]
        cams: list[dict[str, Any]] = []
        if ranks[0] is not None:
            cams = [{LABELS[order[face, rank]]: ranks[rank] for rank in range(count)} for face in range(len(faces))]
        looked = {
            layer: classification.attention_canvas(
                attention(features.detach()).float(), CANVAS, self.card.guidance.resize
            ).cpu().numpy()
            for layer, features in sorted(output.features.items())
        }  # fmt: skip
        return (logits / self.temperature).softmax(1).numpy(), cams, looked

    def _cam(self, output: Output, classes: Tensor) -> NDArray[np.float32] | None:
        with torch.set_grad_enabled(self.method.needs_gradient):
            maps = self.method.cam(output, classes)
        if maps is None:
            return None
        return classification.cam_canvas(classification.normalise(maps.detach().float()), CANVAS).cpu().numpy()

    def _explanation(
        self, face: Found, probabilities: dict[str, float], cams: dict[str, Map], looked: dict[int, Map]
    ) -> Explanation:
        assert face.crop.image is not None
        assert face.crop.matrix is not None
        ranked = sorted(probabilities, key=lambda label: -probabilities[label])
        placed = None if face.points is None else shapes(face.points, self.card.heatmap.geometry)
        readings: dict[str, tuple[Reading, ...]] = {}
        table: dict[str, list[dict[str, Any]]] = {}
        if face.points is not None and placed is not None:
            for kind in ("cam", "attention") if cams else ("attention",):
                maps = [cams[label] if kind == "cam" else looked[self.layer] for label in ranked[:2]]
                readings[kind] = tuple(
                    reading.read(values, Expression.parse(label), placed, face.points, self.card.heatmap)
                    for values, label in zip(maps, ranked, strict=False)
                )
                table[kind] = reading.au_table(maps[0], placed, self.card.heatmap)
        return Explanation(
            box=face.box,
            matrix=_to_canvas(face.crop.matrix, int(self.alignment["size"])),
            face=on_canvas(face.crop.image),
            status=face.crop.status,
            probabilities=probabilities,
            calibrated="temperature" in self.loaded.scores,
            cams=cams,
            attention=looked,
            layer=self.layer,
            points=face.points,
            shapes=placed,
            readings=readings,
            action_units=table,
            warnings=tuple(_warnings(probabilities, ranked, readings, face.points)),
        )


def _landmarks(crop: Crop, size: int) -> NDArray[np.float64] | None:
    """Place landmarks on a crop as the extractor dlib does, and bring them to the canvas."""
    points = place_landmarks(crop, "dlib")
    return None if points is None else to_canvas(points, size)


def _warnings(
    probabilities: dict[str, float],
    ranked: Sequence[str],
    readings: dict[str, tuple[Reading, ...]],
    points: NDArray[np.float64] | None,
) -> Iterator[str]:
    if probabilities[ranked[0]] < reading.UNSURE:
        first, second = (f"{label} {probabilities[label]:.2f}" for label in ranked[:2])
        yield f"the network is unsure: {first}, {second}"
    if points is None:
        yield "no landmarks were found, so that the map cannot be read in action units"
    for found in list(readings.values())[:1]:
        yield from found[0].warnings


def _to_canvas(matrix: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Let a matrix that leads to a crop of `size` lead to the canvas."""
    scale = CANVAS / size
    scaled = matrix * scale
    scaled[:, 2] += 0.5 * scale - 0.5
    return scaled
