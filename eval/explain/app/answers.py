"""What the page gets of a picture: an overview with the box of each face, and for each explained face its maps."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from au_guidance.expressions import AU_NAMES, codebook
from eval.explain import outputs
from eval.explain.explainer import Explainer, LocatedFace
from eval.explain.explanation import Explanation, RGBImage, percent
from eval.explain.panel import draw_panel
from eval.explain.reading import au_table, ellipses
from eval.figures.faces import divide_by_peak
from eval.figures.style import MAP

OVERVIEW = 1000  # longest side of the overview, pixels
QUALITY = 88  # of JPEG; maps are smooth


def explain_picture(
    explainer: Explainer, picture: RGBImage, *, max_faces: int, every_class: bool = False
) -> tuple[list[Explanation], list[LocatedFace]]:
    """Explain the `max_faces` largest faces of a picture, from left to right; also return those left out."""
    located = explainer.locate(picture)
    largest = sorted(range(len(located)), key=lambda place: -_area(located[place]))[:max_faces]
    chosen = [located[place] for place in sorted(largest)]
    left_out = [face for place, face in enumerate(located) if place not in largest]
    return list(explainer.explain_faces(chosen, every_class=every_class)), left_out


def answer(
    name: str, picture: RGBImage, faces: Sequence[Explanation], left_out: Sequence[LocatedFace]
) -> dict[str, Any]:
    """Return what the page shows of a picture, as plain values.

    `overview` is a JPEG as a data URL, the boxes of `faces` and `left_out` are shares of its width and height;
    `document` is the JSON that `python -m eval.explain` writes.
    """
    return {
        "overview": _data_url(_shrink(picture)),
        "faces": [describe_face(face) | {"box": _shares(face.box, picture)} for face in faces],
        "left_out": [_shares(face.box, picture) for face in left_out],
        "document": outputs.document(name, faces),
    }


def describe_face(face: Explanation) -> dict[str, Any]:
    """Return what the page shows of a face: images as data URLs, maps and their AU tables by name, AU regions."""
    maps = {f"cam {label}": values for label, values in face.cams.items()}
    maps |= {f"attention {layer}": values for layer, values in face.attention.items()}
    expected = codebook(face.heatmap.codebook)
    tables: dict[str, Any] = {}
    regions: dict[int, Any] = {}
    if face.shapes is not None and face.points is not None:
        tables = {name: au_table(values, face.shapes, face.points, face.heatmap) for name, values in maps.items()}
        for au in {au for aus in expected.values() for au in aus}:
            regions[au] = [_svg_ellipse(ellipse) for ellipse in ellipses(face.shapes, au, face.heatmap.geometry)]
    colours = matplotlib.colormaps[MAP]
    return {
        "label": face.label,
        "probabilities": {label: face.probabilities[label] for label in face.ranked},
        "percent": {label: percent(value) for label, value in face.probabilities.items()},
        "calibrated": face.calibrated,
        "words": face.words,
        "layer": face.layer,
        "picture": _data_url(face.face),
        "maps": {name: _data_url(colours(divide_by_peak(m), bytes=True)[..., :3]) for name, m in maps.items()},
        "tables": tables,
        "regions": regions,
        "names": {au: AU_NAMES.get(au, "") for au in regions},
        "expected": {label.label: list(aus) for label, aus in expected.items()},
    }


def panel_file(faces: Sequence[Explanation], picture: RGBImage) -> bytes:
    """Return the panel that `python -m eval.explain` draws, as the bytes of a PNG file."""
    return _encode(draw_panel(faces, picture), "PNG")


def _area(face: LocatedFace) -> float:
    x0, y0, x1, y1 = face.box
    return float((x1 - x0) * (y1 - y0))


def _shares(box: NDArray[np.float64], picture: RGBImage) -> list[float]:
    """Return a box x0, y0, x1, y1, cut at the border, in shares of the picture's width and height."""
    size = np.array([picture.shape[1], picture.shape[0]] * 2)
    return [round(float(value), 4) for value in np.clip((box + 0.5) / size, 0, 1)]


def _shrink(picture: RGBImage) -> RGBImage:
    scale = OVERVIEW / max(picture.shape)
    size = max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1)
    return picture if scale >= 1 else np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _svg_ellipse(ellipse: NDArray[np.float64]) -> dict[str, float]:
    x, y, rx, ry, angle = (round(float(value), 3) for value in ellipse)
    return {"x": x, "y": y, "rx": max(rx, 1), "ry": max(ry, 1), "angle": round(float(np.degrees(angle)), 2)}


def _data_url(image: RGBImage) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(_encode(image, 'JPEG', quality=QUALITY)).decode()}"


def _encode(image: RGBImage, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()
