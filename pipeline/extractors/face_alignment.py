"""The 2D-FAN landmark network of the package face-alignment (Bulat and Tzimiropoulos, ICCV 2017); wants a GPU.

Its weights must be in a folder (`snakemake weights` downloads them); nothing is downloaded here. The package's own code
predicts one face at a time and truncates coordinates to whole pixels. This module batches the faces and decodes the
maps itself: the network sees the box as in its training, and each landmark is the peak of a 64x64 map, shifted by a
quarter cell towards the higher neighbour.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.extractors._boxes import locate
from pipeline.geometry import MIRROR_68, Points, compose, invert, rescale, transform, warp
from pipeline.storage.files import digest
from pipeline.types import AlignedFaces, Landmarks

if TYPE_CHECKING:
    import torch

FILE = "2DFAN4-11f355bf06.pth.tar"  # the hexadecimal digits begin the file's SHA-256
URL = f"https://www.adrianbulat.com/downloads/python-fan/{FILE}"
INPUT, GRID = 256, 64  # sides of the network's input and of its maps
WINDOW = 200 / 195  # side of the input in units of the box's width plus height
BLOCK = 512  # faces after which a killed extraction continues
BATCH = 2, 32  # on a CPU, and elsewhere
ABOVE = 0.12  # the input's centre lies above the box's, in units of its height


def extract(
    faces: AlignedFaces, weights: str = "weights", device: str = "auto", batch: str = "auto", flip: str = "false"
) -> Landmarks:
    """Place the landmarks of all faces; `quality` is the mean height of the peaks.

    `weights` is the folder with the network's file; the cache of torch hub is searched too. A `batch` has 32 faces
    on a GPU and 2 on a CPU, because more would not fit its caches. `flip=true` averages the maps of each face with
    those of its mirror image, as the package does by default; it takes twice the time. A face that alignment did not
    find is searched once more in its view ("redetected"), then the dataset's box is used ("from_box").
    """
    if batch != "auto" and (not batch.isdecimal() or int(batch) < 1):
        raise UserError(f"option batch: {batch!r} is no number of faces above 0, and not auto")
    if flip.lower() not in ("true", "false"):
        raise UserError(f"option flip: {flip!r} is neither true nor false")
    network, chosen = _network(find_weights(weights), device)
    size = BATCH[chosen.type != "cpu"] if batch == "auto" else int(batch)
    located = [locate(faces, row) for row in range(len(faces.ids))]
    points = np.full((len(located), 68, 2), np.nan, np.float32)
    quality = np.full(len(located), np.nan, np.float32)
    windows = {row: window(face.box) for row, face in enumerate(located) if face.box is not None}
    rows, back = list(windows), invert(faces.view_matrix)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        inputs = [warp(faces.view(row), windows[row], INPUT) for row in part]
        maps = _maps(network, inputs, chosen, flip=flip.lower() == "true")
        peaks, heights = read_out(maps)
        for row, cells in zip(part, peaks, strict=True):
            points[row] = transform(compose(back, invert(windows[row])), rescale(cells, GRID, INPUT))
        quality[part] = np.clip(heights, 0, 1).mean(1)
    return Landmarks(points, [face.status for face in located], quality)


def find_weights(folder: str) -> Path:
    """Return the network's file, checked; raise UserError that says which file to put where."""
    import torch  # noqa: PLC0415 (only this extractor needs it)

    folders = [Path(folder), Path(torch.hub.get_dir(), "checkpoints")]
    for path in (place / FILE for place in folders):
        if path.is_file():
            _check(path)
            return path
    places = " or ".join(str(place) for place in folders)
    raise UserError(f"{FILE} is missing: run `snakemake weights`, or get it from {URL} and put it into {places}")


def window(box: Points) -> Points:
    """Return the matrix (2, 3) from the view to the network's input: a square around the box, twice as wide."""
    width, height = box[2] - box[0], box[3] - box[1]
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2 - (0, ABOVE * height)
    scale = INPUT / ((width + height) * WINDOW)
    return np.column_stack([np.eye(2) * scale, (INPUT - 1) / 2 - scale * centre])


def read_out(maps: NDArray[np.float32]) -> tuple[Points, NDArray[np.float32]]:
    """Find the peaks (n, 68, 2) of maps (n, 68, side, side), x then y in cells, and their heights (n, 68)."""
    count, landmarks, side, _ = maps.shape
    best = maps.reshape(count, landmarks, -1).argmax(2)
    row, column = np.divmod(best, side)
    face, point = np.ogrid[:count, :landmarks]
    peaks = np.stack([column, row], 2).astype(np.float64)
    within = (row > 0) & (row < side - 1) & (column > 0) & (column < side - 1)
    left, right = np.maximum(column - 1, 0), np.minimum(column + 1, side - 1)
    above, below = np.maximum(row - 1, 0), np.minimum(row + 1, side - 1)
    peaks[..., 0] += within * 0.25 * np.sign(maps[face, point, row, right] - maps[face, point, row, left])
    peaks[..., 1] += within * 0.25 * np.sign(maps[face, point, below, column] - maps[face, point, above, column])
    return peaks, maps[face, point, row, column]


@cache  # each block asks for it
def _network(path: Path, device: str) -> tuple["torch.nn.Module", "torch.device"]:
    import torch  # noqa: PLC0415
    from face_alignment.models import FAN  # noqa: PLC0415 (slow to import)

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UserError(f"option device: {device!r} is not a torch device; use auto, cpu or cuda") from None
    network = FAN(4)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.to(chosen).to(memory_format=torch.channels_last).eval(), chosen


def _maps(
    network: "torch.nn.Module", inputs: Sequence[NDArray[np.uint8]], device: "torch.device", *, flip: bool = False
) -> NDArray[np.float32]:
    import torch  # noqa: PLC0415

    # the pictures already lie channels-last in memory, which suits convolutions
    stacked = torch.from_numpy(np.stack(inputs)).to(device).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        maps = network(stacked)[-1].float()
        if flip:
            maps = (maps + network(stacked.flip(3))[-1].float().flip(3)[:, MIRROR_68]) / 2
    return np.asarray(maps.cpu())


def _check(path: Path) -> None:
    """Compare the file with the digits in its name: truncated downloads are common."""
    wanted = FILE.partition("-")[2].partition(".")[0]
    actual = digest(path)
    if not actual.startswith(wanted):
        raise UserError(
            f"{path} is damaged: its SHA-256 is {actual[:10]}..., not {wanted}...; fetch it again from {URL}"
        )
