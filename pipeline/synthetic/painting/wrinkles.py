"""The folds that action units press into the skin; each is as strong as its AU, and stronger with age."""

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas, Field, spline
from pipeline.synthetic.face_shape import Half, Portrait

_ACROSS = np.linspace(-0.6, 0.6, 9)  # x of the points of a forehead line


def wrinkle_half(canvas: Canvas, portrait: Portrait, half: Half) -> None:
    """Paint the wrinkles of one side."""
    _around_eye(canvas, portrait, half)
    _around_nose(canvas, portrait, half)
    _around_mouth_corner(canvas, portrait, half)


def wrinkle_forehead(canvas: Canvas, portrait: Portrait, rng: np.random.Generator) -> None:
    """Paint three lines across the forehead: AU 1 folds its middle, AU 2 its sides."""
    if max(portrait.au(1), portrait.au(2)) <= 0.05:
        return
    part = canvas.window([(-0.62, -0.72), (0.62, -0.32)], 0.02)
    strength = _forehead_strength(part, portrait) * np.float32(_age_factor(portrait))
    for line in range(3):
        height = -0.40 - 0.085 * line + _forehead_curve(portrait) + 0.007 * rng.normal(size=len(_ACROSS))
        mask = part.stroke(spline(np.stack([_ACROSS, height], 1)), 0.013, 0.011) * strength
        part.height += np.float32(0.02) * (np.float32(0.6) * np.roll(mask, -3, 0) - mask)
        part.darken(np.minimum(mask * np.float32(0.55), 0.8), 0.5)


def wrinkle_chin(canvas: Canvas, portrait: Portrait, rng: np.random.Generator) -> None:
    """Paint the groove under the lower lip and, with AU 17, the dimples of the chin."""
    lip, raiser = float(portrait.landmarks[57, 1]), portrait.au(17)
    groove = [(-0.16, lip + 0.09), (0, lip + 0.065), (0.16, lip + 0.09)]
    canvas.crease(groove, 0.35 + 0.7 * raiser, width=0.02, depth=0.02, shade=0.14)
    if raiser > 0.1:
        part = canvas.window((0, lip + 0.2), 0.3)
        knots = rng.normal(size=(12, 12)).astype(np.float32)
        dimples = cv2.resize(knots, part.height.shape[::-1], interpolation=cv2.INTER_CUBIC)
        part.height += np.float32(0.018 * raiser) * part.spot((0, lip + 0.2), 0.13, 0.07) * dimples


def _age_factor(portrait: Portrait) -> float:
    return 0.5 + 0.5 * portrait.identity.age


def _around_eye(canvas: Canvas, portrait: Portrait, half: Half) -> None:
    """Paint the bag under the eye and the crow's feet beside it."""
    side, corner = half.side, half.eye_corner
    bag = [half.beside(half.socket, outwards, down) for outwards, down in ((-0.13, 0.085), (0, 0.125), (0.12, 0.10))]
    strength = 0.25 * portrait.identity.age + 0.4 * portrait.au(6, side) + 0.3 * portrait.au(7, side)
    canvas.crease(bag, strength, width=0.018, depth=0.02, shade=0.15)
    for slant in (-0.05, 0, 0.05):
        foot = [half.beside(corner, 0.04, 0.5 * slant), half.beside(corner, 0.13, 1.5 * slant - 0.005)]
        canvas.crease(foot, 0.8 * _age_factor(portrait) * portrait.au(6, side), width=0.010, depth=0.016)


def _around_nose(canvas: Canvas, portrait: Portrait, half: Half) -> None:
    """Paint the fold from nose to mouth, the frown line beside the brow and the lines across the root of the nose."""
    side, out, inner_brow = half.side, half.outwards, half.brow[4]
    smile, age = portrait.au(12, side), _age_factor(portrait)
    middle = (half.ala + half.mouth_corner) / 2
    fold = [half.beside(half.ala, 0.04, -0.03), half.beside(middle, 0.10 + 0.03 * smile, -0.03)]
    fold.append(half.beside(half.mouth_corner, 0.075, -0.01))
    strength = 0.2 * portrait.identity.age + 0.9 * smile + 0.7 * portrait.au(10, side)
    strength += 0.6 * portrait.au(9, side) + 0.25 * portrait.au(15, side)
    canvas.crease(fold, strength, width=0.020, depth=0.03, shade=0.16)
    frown = [inner_brow * np.array([x, 1], np.float32) + (0, down) for x, down in ((0.45, -0.06), (0.36, 0.07))]
    canvas.crease(frown, age * (1.1 * portrait.au(4, side) + 0.5 * portrait.au(9, side)), width=0.013, depth=0.03)
    for line in (0, 1):
        root = [(0.11 * out, 0.01 + 0.07 * line), (0.03 * out, 0.015 + 0.07 * line)]
        canvas.crease(root, 1.1 * age * portrait.au(9, side), width=0.012, depth=0.022, shade=0.25)


def _around_mouth_corner(canvas: Canvas, portrait: Portrait, half: Half) -> None:
    """Paint the groove below a lowered corner and the brackets beside a stretched one."""
    side, corner = half.side, half.mouth_corner
    groove = [half.beside(corner, 0.03, 0.02), half.beside(corner, 0.05, 0.09)]
    canvas.crease(groove, 0.9 * portrait.au(15, side) + 0.3 * portrait.au(17, side), width=0.014, depth=0.02)
    for bracket in (0, 0.05):
        places = ((0.06, -0.07), (0.085, 0), (0.06, 0.07))
        path = [half.beside(corner, outwards + bracket, down) for outwards, down in places]
        canvas.crease(path, 0.6 * portrait.au(20, side), width=0.013, depth=0.018)


def _forehead_strength(part: Canvas, portrait: Portrait) -> Field:
    middle = np.exp(-((part.x / np.float32(0.24)) ** 2)) * np.float32(portrait.au(1))
    sides = 1 - np.exp(-((part.x / np.float32(0.3)) ** 2))
    outer = np.where(part.x < 0, np.float32(portrait.au(2, 0)), np.float32(portrait.au(2, 1)))
    return np.asarray(middle + sides * outer)


def _forehead_curve(portrait: Portrait) -> np.ndarray:
    """Return how much lower than its base each point of a forehead line lies."""
    middle = np.exp(-((_ACROSS / 0.3) ** 2))
    sides = np.exp(-(((np.abs(_ACROSS) - 0.4) / 0.2) ** 2))
    return 0.10 * _ACROSS**2 - 0.05 * portrait.au(1) * middle - 0.05 * portrait.au(2) * sides
