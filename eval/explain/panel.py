"""Explained faces as a picture: the face with its AU regions, class map, attention, probabilities and sentences."""

from collections.abc import Sequence
from textwrap import wrap

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from au_guidance.expressions import Expression, codebook
from au_guidance.heatmap import CANVAS
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.reading import LIFT_HIGH, Map, ellipses
from eval.figures.faces import divide_by_peak, overlay
from eval.figures.style import FAINT, INK, MAP

MARGIN, LINE = 12, 18  # pixels
WIDTH = 4 * CANVAS + 5 * MARGIN
LINE_LENGTH = 128  # characters
BAR, FIRST_BAR = "#E4E4E4", "#0072B2"
YELLOW, WHITE = (255, 214, 0), (255, 255, 255)


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
    lifts = {region.au: region.lift for region in face.shown_readings[0].regions}
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
