"""The panel of a picture: each face with its maps and probabilities, below the picture with numbered boxes."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from au_guidance.expressions import Expression, codebook
from au_guidance.heatmap import CANVAS
from eval.explain.explanation import Explanation, RGBImage, percent
from eval.explain.reading import Map, ellipses
from eval.figures.faces import divide_by_peak, overlay
from eval.figures.style import FAINT, INK, MAP
from pipeline.geometry import Points, template

MARGIN, LINE = 12, 18  # pixels
WIDTH = 4 * CANVAS + 5 * MARGIN
OVERVIEW_HEIGHT = 720  # pixels, at most
LINE_LENGTH = 128  # characters
BAR, FIRST_BAR = "#E4E4E4", "#0072B2"
YELLOW, WHITE = (255, 214, 0), (255, 255, 255)
GREY, DARK_GREY = 150, 60


class Shrunk(NamedTuple):
    """A picture as a panel shows it: `scale` times as wide and high as the original, in whose pixels boxes are."""

    image: RGBImage
    scale: float


def draw_panel(
    faces: Sequence[Explanation], picture: RGBImage | Shrunk | None = None, *, stand_in: RGBImage | None = None
) -> RGBImage:
    """Draw explained faces below each other: the face with the expected AU regions, CAM, attention, probabilities.

    Faces are numbered from 1, left to right. Several faces of a `picture` stand below it, with their boxes in it. A
    `stand_in` (224, 224, 3) is drawn in the place of every face, without the regions, which show its landmarks.
    """
    rows = [_row(number, face, stand_in, many=len(faces) > 1) for number, face in enumerate(faces, start=1)]
    if picture is not None and stand_in is None and len(faces) > 1:
        rows.insert(0, _framed(draw_overview(picture, [face.box for face in faces])))
    return np.concatenate(rows)


def shrink(picture: RGBImage) -> Shrunk:
    """Shrink a picture to the width of a panel, so that a batch of large ones need not stay in memory."""
    height, width = picture.shape[:2]
    scale = min(1.0, (WIDTH - 2 * MARGIN) / width, OVERVIEW_HEIGHT / height)
    size = max(round(scale * width), 1), max(round(scale * height), 1)
    return Shrunk(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8), scale)


def draw_overview(picture: RGBImage | Shrunk, boxes: Sequence[Points]) -> RGBImage:
    """Draw numbered boxes x0, y0, x1, y1 in a picture, which is shrunk to the width of a panel."""
    shrunk, scale = picture if isinstance(picture, Shrunk) else shrink(picture)
    image = Image.fromarray(shrunk)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for number, box in enumerate(boxes, start=1):
        left, top, right, bottom = (scale * (float(value) + 0.5) - 0.5 for value in box)
        draw.rectangle((left, top, right, bottom), outline=WHITE, width=3)
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=INK)
        _, _, text_width, text_height = draw.textbbox((0, 0), str(number), font)
        x, y = max(left, 0.0), max(top - text_height - 4, 0.0)
        draw.rectangle((x, y, x + text_width + 6, y + text_height + 4), fill=INK)
        draw.text((x + 3, y + 1), str(number), WHITE, font)
    return np.asarray(image)


def draw_stand_in(mode: str) -> RGBImage:
    """Draw the outline of an average face (224, 224, 3), aligned as `pipeline.geometry.template` aligns for `mode`."""
    left_eye, right_eye, nose, left_mouth, right_mouth = template(CANVAS, mode)
    between, eyes, mouth = right_eye[0] - left_eye[0], (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    image = Image.new("RGB", (CANVAS, CANVAS), (GREY, GREY, GREY))
    draw, line = ImageDraw.Draw(image), {"outline": (DARK_GREY,) * 3, "width": 2}
    height = mouth[1] - eyes[1]
    middle = (eyes + mouth) / 2 - (0, 0.1 * height)
    _oval(draw, middle, 1.15 * between, 1.5 * height, **line)
    for eye in (left_eye, right_eye):
        _oval(draw, eye, 0.28 * between, 0.12 * between, **line)
    _oval(draw, mouth, (right_mouth[0] - left_mouth[0]) / 2, 0.16 * between, **line)
    draw.line(
        [(eyes[0], eyes[1] + 0.2 * height), tuple(nose), (nose[0] + 0.12 * between, nose[1])], (DARK_GREY,) * 3, 2
    )
    return np.asarray(image)


def _oval(draw: ImageDraw.ImageDraw, centre: Points, rx: float, ry: float, **line: Any) -> None:
    x, y = (float(value) for value in centre)
    draw.ellipse((x - rx, y - ry, x + rx, y + ry), **line)


def _framed(picture: RGBImage) -> RGBImage:
    """Put a picture on a white strip as wide as a panel."""
    strip = np.full((picture.shape[0] + 2 * MARGIN, WIDTH, 3), 255, np.uint8)
    strip[MARGIN : MARGIN + picture.shape[0], MARGIN : MARGIN + picture.shape[1]] = picture
    return strip


def _row(number: int, face: Explanation, stand_in: RGBImage | None, *, many: bool) -> RGBImage:
    lines = [line for text in face.words for line in wrap(text, LINE_LENGTH, subsequent_indent="    ")]
    image = Image.new("RGB", (WIDTH, CANVAS + 3 * MARGIN + LINE * (1 + len(lines))), "white")
    draw = ImageDraw.Draw(image)
    ground, cam = face.face if stand_in is None else stand_in, face.cams.get(face.label)
    shown = _with_regions(face) if stand_in is None else stand_in
    pictures = [
        (f"face {number}" if many else "face", shown),
        ("no class map", None) if cam is None else (f"class map of {face.label}", _overlaid(ground, cam)),
        (f"attention, layer {face.layer}", _overlaid(ground, face.attention[face.layer])),
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
    high = {au for region in face.shown_readings[0].regions if region.is_high for au in region.aus}
    for au in codebook(face.heatmap.codebook)[Expression.parse(face.label)]:
        colour, width = (YELLOW, 2) if au in high else (WHITE, 1)
        for x, y, rx, ry, angle in ellipses(face.shapes, au, face.heatmap.geometry):
            box = ((float(x), float(y)), (2 * float(rx), 2 * float(ry)), float(np.degrees(angle)))
            cv2.ellipse(picture, box, colour, width, cv2.LINE_AA)
    return picture


def _overlaid(ground: RGBImage, values: Map) -> RGBImage:
    return overlay(ground, divide_by_peak(values), MAP)


def _draw_probabilities(draw: ImageDraw.ImageDraw, face: Explanation, left: int) -> None:
    calibrated = "calibrated" if face.calibrated else "not calibrated"
    _write(draw, (left, MARGIN // 2), f"probabilities ({calibrated})")
    for place, label in enumerate(face.ranked):
        top, value = MARGIN + LINE + place * 30, face.probabilities[label]
        end = left + round(value * (CANVAS - 1))
        _write(draw, (left, top), f"{label} {percent(value)}")
        draw.rectangle((left, top + 17, left + CANVAS - 1, top + 22), BAR)
        draw.rectangle((left, top + 17, end, top + 22), FAINT if place else FIRST_BAR)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str) -> None:
    draw.text(place, text, INK, ImageFont.load_default(13))
