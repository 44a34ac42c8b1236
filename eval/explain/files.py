"""An explained picture as files: a panel for people, JSON for programs, arrays for further work."""

import json
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
from eval.explain.explainer import Explanation
from eval.explain.reading import ON, ellipses
from eval.figures.faces import overlay, shown
from eval.figures.style import FAINT, INK, MAP
from pipeline.storage.files import atomic_write, write_text
from train.card.schema import Heatmap

MARGIN, LINE = 12, 18  # pixels
WIDTH = 4 * CANVAS + 5 * MARGIN
Picture = NDArray[np.uint8]


def document(name: str, faces: Sequence[Explanation]) -> dict[str, Any]:
    """Return what is known of a picture as plain values; docs/explain.md describes every key."""
    return {"image": name, "faces": [_face(number, face) for number, face in enumerate(faces)]}


def write(out: Path, name: str, faces: Sequence[Explanation], heatmap: Heatmap) -> None:
    """Write `out`.json and, if there are faces, `out`.png and `out`.npz, each whole or not at all."""
    write_text(out.with_name(out.name + ".json"), json.dumps(document(name, faces), indent=1) + "\n")
    if not faces:
        return
    with atomic_write(out.with_name(out.name + ".png")) as temporary:
        Image.fromarray(panel(faces, heatmap)).save(temporary)
    with atomic_write(out.with_name(out.name + ".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays(faces))  # type: ignore[arg-type]


def arrays(faces: Sequence[Explanation]) -> dict[str, NDArray[Any]]:
    """Return the maps by name: `face0`, `face0_cam_happiness`, `face0_attention_5`, `face0_points`, `face0_matrix`."""
    found: dict[str, NDArray[Any]] = {}
    for number, face in enumerate(faces):
        lead = f"face{number}"
        found |= {lead: face.face, f"{lead}_matrix": face.matrix}
        found |= {f"{lead}_cam_{label}": values.astype(np.float32) for label, values in face.cams.items()}
        found |= {f"{lead}_attention_{layer}": values.astype(np.float32) for layer, values in face.attention.items()}
        if face.points is not None:
            found[f"{lead}_points"] = face.points
    return found


def panel(faces: Sequence[Explanation], heatmap: Heatmap) -> Picture:
    """Draw the faces below each other: face with the expected AU regions, CAM, attention, probabilities, words."""
    return np.concatenate([_row(number, face, heatmap, many=len(faces) > 1) for number, face in enumerate(faces)])


def regions(face: Explanation, label: str, heatmap: Heatmap) -> list[tuple[int, NDArray[np.float64]]]:
    """List the regions of the AUs of an expression on a face: (AU, ellipse), ellipses as in `eval.explain.reading`."""
    if face.shapes is None:
        return []
    aus = codebook(heatmap.codebook)[Expression.parse(label)]
    return [(au, ellipse) for au in aus for ellipse in ellipses(face.shapes, au, heatmap.geometry)]


def _face(number: int, face: Explanation) -> dict[str, Any]:
    return {
        "number": number,
        "box": [round(float(value), 1) for value in face.box],
        "status": face.status,
        "label": face.label,
        "probabilities": {label: round(value, 4) for label, value in face.probabilities.items()},
        "calibrated": face.calibrated,
        "words": face.words,
        "warnings": list(face.warnings),
        "readings": {kind: [one.plain() for one in found] for kind, found in face.readings.items()},
        "action_units": face.action_units,
        "layer": face.layer,
    }


def _row(number: int, face: Explanation, heatmap: Heatmap, *, many: bool) -> Picture:
    lines = [line for text in face.words for line in wrap(text, 128, subsequent_indent="    ")]
    image = Image.new("RGB", (WIDTH, CANVAS + 3 * MARGIN + LINE * (1 + len(lines))), "white")
    draw = ImageDraw.Draw(image)
    cam = face.cams.get(face.label)
    pictures = [
        (f"face {number}" if many else "face", _outlined(face, heatmap)),
        ("no class map" if cam is None else f"class map of {face.label}", None if cam is None else _laid(face, cam)),
        (f"attention, layer {face.layer}", _laid(face, face.attention[face.layer])),
    ]
    for place, (title, picture) in enumerate(pictures):
        left = MARGIN + place * (CANVAS + MARGIN)
        draw.text((left, MARGIN // 2), title, INK, _font(13))
        if picture is not None:
            image.paste(Image.fromarray(picture), (left, MARGIN + LINE))
    _bars(draw, face, MARGIN + 3 * (CANVAS + MARGIN))
    for place, line in enumerate(lines):
        draw.text((MARGIN, CANVAS + 2 * MARGIN + LINE * (1 + place)), line, INK, _font(13))
    return np.asarray(image)


def _outlined(face: Explanation, heatmap: Heatmap) -> Picture:
    """Draw the regions of the predicted class's AUs: solid where its map lies on them, thin where it does not."""
    picture = face.face.copy()
    read = next(iter(face.readings.values()), ())
    lifts = {region.au: region.lift for region in (read[0].regions if read else ())}
    for au, (x, y, across, down, angle) in regions(face, face.label, heatmap):
        on = lifts.get(au, 0.0) >= ON
        box = ((float(x), float(y)), (2 * float(across), 2 * float(down)), float(np.degrees(angle)))
        cv2.ellipse(picture, box, (255, 214, 0) if on else (255, 255, 255), 2 if on else 1, cv2.LINE_AA)
    return picture


def _laid(face: Explanation, values: NDArray[np.float32]) -> Picture:
    return overlay(face.face, shown(values), MAP)


def _bars(draw: ImageDraw.ImageDraw, face: Explanation, left: int) -> None:
    kind = "calibrated" if face.calibrated else "not calibrated"
    draw.text((left, MARGIN // 2), f"probabilities ({kind})", INK, _font(13))
    for place, label in enumerate(face.ranked):
        top, value = MARGIN + LINE + place * 30, face.probabilities[label]
        draw.text((left, top), f"{label} {value:.2f}", INK, _font(13))
        draw.rectangle((left, top + 17, left + CANVAS - 1, top + 22), "#E4E4E4")
        draw.rectangle(
            (left, top + 17, left + round(value * (CANVAS - 1)), top + 22), "#0072B2" if not place else FAINT
        )


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
