"""The files of an explained image: a panel to look at, JSON for programs, and the maps as arrays."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from au_guidance.expressions import Expression, codebook
from au_guidance.heatmap import CANVAS
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.reading import LIFT_HIGH, Map, ellipses
from eval.figures.faces import divide_by_peak, overlay
from eval.figures.style import FAINT, INK, MAP
from pipeline.storage.files import atomic_write, write_text

MARGIN, LINE = 12, 18  # pixels
WIDTH = 4 * CANVAS + 5 * MARGIN
LINE_LENGTH = 128  # characters
BAR, FIRST_BAR = "#E4E4E4", "#0072B2"
YELLOW, WHITE = (255, 214, 0), (255, 255, 255)


def document(name: str, faces: Sequence[Explanation]) -> dict[str, Any]:
    """Return the explanations of an image as plain values; docs/explain.md describes every key."""
    return {"image": name, "faces": [_face(number, face) for number, face in enumerate(faces)]}


def write_files(out: Path, name: str, faces: Sequence[Explanation]) -> None:
    """Write `out`.json and, if there are faces, `out`.png and `out`.npz, each completely or not at all."""
    write_text(out.with_name(out.name + ".json"), json.dumps(document(name, faces), indent=1) + "\n")
    if not faces:
        return
    with atomic_write(out.with_name(out.name + ".png")) as temporary:
        Image.fromarray(draw_panel(faces)).save(temporary)
    with atomic_write(out.with_name(out.name + ".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays(faces))  # type: ignore[arg-type]  # numpy types only its own keywords


def arrays(faces: Sequence[Explanation]) -> dict[str, NDArray[Any]]:
    """Return the arrays by name: `face0`, `face0_matrix`, `face0_points`, `face0_cam_<label>`, `face0_attention_5`."""
    named: dict[str, NDArray[Any]] = {}
    for number, face in enumerate(faces):
        lead = f"face{number}"
        named |= {lead: face.face, f"{lead}_matrix": face.matrix}
        named |= {f"{lead}_cam_{label}": values for label, values in face.cams.items()}
        named |= {f"{lead}_attention_{layer}": values for layer, values in face.attention.items()}
        if face.points is not None:
            named[f"{lead}_points"] = face.points
    return named


def _face(number: int, face: Explanation) -> dict[str, Any]:
    return {
        "number": number,
        "box": [round(float(value), 1) for value in face.box],
        "status": face.status,
        "step": face.step,
        "score": _number(face.score),
        "quality": _number(face.quality),
        "label": face.label,
        "probabilities": {label: round(value, 4) for label, value in face.probabilities.items()},
        "calibrated": face.calibrated,
        "words": face.words,
        "warnings": face.warnings,
        "readings": {kind: [reading.as_dict() for reading in readings] for kind, readings in face.readings.items()},
        "action_units": face.action_units,
        "layer": face.layer,
    }


def _number(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def draw_panel(faces: Sequence[Explanation]) -> RGBImage:
    """Draw explained faces below each other: the face with the expected AU regions, CAM, attention, probabilities."""
    return np.concatenate([_row(number, face, many=len(faces) > 1) for number, face in enumerate(faces)])


def _row(number: int, face: Explanation, *, many: bool) -> RGBImage:
    lines = [line for text in face.words for line in wrap(text, LINE_LENGTH, subsequent_indent="    ")]
    image = Image.new("RGB", (WIDTH, CANVAS + 3 * MARGIN + LINE * (1 + len(lines))), "white")
    draw = ImageDraw.Draw(image)
    cam = face.cams.get(face.label)
    pictures = [
        (f"face {number}" if many else "face", _with_regions(face)),
        ("no class map", None) if cam is None else (f"class map of {face.label}", _overlaid(face, cam)),
        (f"attention, layer {face.layer}", _overlaid(face, face.attention[face.layer])),
    ]
    for place, (title, picture) in enumerate(pictures):
        left = MARGIN + place * (CANVAS + MARGIN)
        _write(draw, (left, MARGIN // 2), title)
        if picture is not None:
            image.paste(Image.fromarray(picture), (left, MARGIN + LINE))
    _draw_probabilities(draw, face, MARGIN + 3 * (CANVAS + MARGIN))
    for place, line in enumerate(lines):
        _write(draw, (MARGIN, CANVAS + 2 * MARGIN + LINE * (1 + place)), line)
    return np.asarray(image)


def _with_regions(face: Explanation) -> RGBImage:
    """Outline the expected AU regions: thick and yellow where the map is high, thin and white elsewhere."""
    picture = face.face.copy()
    if face.shapes is None:
        return picture
    lifts = {au: region.lift for region in face.shown_readings[0].regions for au in region.aus}
    for au in codebook(face.heatmap.codebook)[Expression.parse(face.label)]:
        colour, width = (YELLOW, 2) if lifts.get(au, 0.0) >= LIFT_HIGH else (WHITE, 1)
        for x, y, rx, ry, angle in ellipses(face.shapes, au, face.heatmap.geometry):
            box = ((float(x), float(y)), (2 * float(rx), 2 * float(ry)), float(np.degrees(angle)))
            cv2.ellipse(picture, box, colour, width, cv2.LINE_AA)
    return picture


def _overlaid(face: Explanation, values: Map) -> RGBImage:
    return overlay(face.face, divide_by_peak(values), MAP)


def _draw_probabilities(draw: ImageDraw.ImageDraw, face: Explanation, left: int) -> None:
    calibrated = "calibrated" if face.calibrated else "not calibrated"
    _write(draw, (left, MARGIN // 2), f"probabilities ({calibrated})")
    for place, label in enumerate(face.ranked):
        top, value = MARGIN + LINE + place * 30, face.probabilities[label]
        end = left + round(value * (CANVAS - 1))
        _write(draw, (left, top), f"{label} {value:.2f}")
        draw.rectangle((left, top + 17, left + CANVAS - 1, top + 22), BAR)
        draw.rectangle((left, top + 17, end, top + 22), FAINT if place else FIRST_BAR)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str) -> None:
    draw.text(place, text, INK, ImageFont.load_default(13))
