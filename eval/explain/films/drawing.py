"""Draw what the network says about a face into a frame of a film."""

import cv2
import matplotlib
import numpy as np

from au_guidance.heatmap import CANVAS
from eval.explain.explanation import Explanation, RGBImage, percent
from eval.figures.faces import divide_by_peak
from eval.figures.style import MAP
from pipeline.geometry import invert

OPACITY = 0.5  # of a map over a face
FONT, FONT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.5
FONT_HEIGHT = 720  # of a frame above which the text grows with it


def draw_face(frame: RGBImage, face: Explanation, number: int) -> None:
    """Draw the class map, or the attention, over a face of a frame, and its number, label and probability above."""
    values = divide_by_peak(face.cams.get(face.label, face.attention[face.layer]))
    colours = np.ascontiguousarray(matplotlib.colormaps[MAP](values, bytes=True)[..., :3])
    size, matrix = (frame.shape[1], frame.shape[0]), invert(face.matrix)
    opacity = OPACITY * (cv2.warpAffine(_soft_ellipse(), matrix, size).astype(np.float32)[..., None] / 255)
    frame[:] = np.rint((1 - opacity) * frame + opacity * cv2.warpAffine(colours, matrix, size))
    left, top, right, bottom = (round(float(value)) for value in face.box)
    cv2.rectangle(frame, (left, top), (right, bottom), (255, 255, 255), 1, cv2.LINE_AA)
    draw_label(frame, f"{number} {face.label} {percent(face.probabilities[face.label])}", left, top)


def draw_label(frame: RGBImage, text: str, left: int, top: int) -> tuple[int, int, int, int]:
    """Write a text above a corner of a box, or as near as it is inside the frame; return its x0, y0, x1, y1."""
    frame_height, frame_width = frame.shape[:2]
    scale = FONT_SIZE * max(1.0, frame_height / FONT_HEIGHT)
    (width, _), _ = cv2.getTextSize(text, FONT, scale, 1)
    scale *= min(1.0, (frame_width - 4) / width)
    thickness = max(round(scale), 1)
    (width, height), below = cv2.getTextSize(text, FONT, scale, thickness)
    x = min(max(left, 0), max(frame_width - width - 1, 0))
    y = min(max(top - 6, height + 3), max(frame_height - below - 1, 0))  # of the line that the letters stand on
    box = (x, y - height - 3, x + width, y + below)
    cv2.rectangle(frame, box[:2], box[2:], (0, 0, 0), -1)
    cv2.putText(frame, text, (x, y), FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return box


def _soft_ellipse() -> RGBImage:
    """Return the part of an aligned face that is coloured, 0 to 255 with a soft edge."""
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.ellipse(mask, (CANVAS // 2, CANVAS // 2), (CANVAS * 3 // 8, CANVAS * 7 // 16), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (31, 31), 0), np.uint8)
