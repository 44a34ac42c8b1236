"""A loader that does what the published code's loader does, to compare with.

For each item it opens the file with Pillow, augments three copies of the image (the input, an unmasked and a raw one;
training without masks does not use the last two), draws the AU map at full size with one canvas per AU, and applies the
same geometry to it. The published loader also passes all of it between processes; here, where one core is measured, it
does not.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from au_guidance.expressions import Expression, codebook
from au_guidance.heatmap import geometry_table, shapes
from au_guidance.raster import BACKGROUND, GRID

SIZE = 224
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class PublishedDataset(Dataset[dict[str, Tensor]]):
    """Aligned faces in files (n,) with class ids (n,) and landmarks (n, 68, 2) in pixels of a 224-px face."""

    def __init__(self, files: list[Path], expressions: NDArray[Any], points: NDArray[Any], *, maps: bool) -> None:
        self.files, self.expressions, self.points, self.maps = files, expressions, points, maps
        self.colour_jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)

    def __len__(self) -> int:
        """Count the faces."""
        return len(self.files)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Load, draw and augment one face."""
        rng = np.random.default_rng(row)
        image = functional.resize(Image.open(self.files[row]).convert("RGB"), [256, 256])
        geometry = _Geometry(rng)
        jittered = rng.random() < 0.8
        item = {}
        for name in ("image", "unmasked", "raw"):
            copy = geometry.apply(image.copy(), v2.InterpolationMode.BICUBIC)
            if jittered and name != "raw":
                copy = self.colour_jitter(copy)
            item[name] = functional.to_dtype(functional.to_image(copy), torch.float32, scale=True)
        if rng.random() < 0.5:
            item["image"] = v2.RandomErasing(1.0, (0.02, 0.33), value="random")(item["image"])
        item["image"] = functional.normalize(item["image"], MEAN, DEVIATION)
        if self.maps:
            drawn = full_size_map(self.points[row], Expression(self.expressions[row]))
            larger = functional.resize(torch.from_numpy(drawn)[None], [256, 256])
            item["map"] = torch.as_tensor(geometry.apply(larger, v2.InterpolationMode.NEAREST)).clamp(0, 1)
        return item


class _Geometry:
    """A random rotation, crop and flip, the same for a face and its map."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.angle = float(rng.uniform(-6, 6)) if rng.random() < 0.5 else 0.0
        self.side = round(256 * float(np.sqrt(rng.uniform(0.8, 1))))
        self.top, self.left = (int(place) for place in rng.integers(0, 256 - self.side + 1, 2))
        self.mirrored = rng.random() < 0.5

    def apply(self, image: Any, interpolation: v2.InterpolationMode) -> Any:
        """Transform a Pillow image or a tensor."""
        rotated = functional.rotate(image, self.angle, interpolation) if self.angle else image
        box = (self.top, self.left, self.side, self.side)
        cropped = functional.resized_crop(rotated, *box, [SIZE, SIZE], v2.InterpolationMode.BILINEAR)
        return functional.horizontal_flip(cropped) if self.mirrored else cropped


def full_size_map(points: NDArray[Any], expression: Expression) -> NDArray[np.float32]:
    """Draw the AU map (224, 224) with a canvas of doubles for each AU, repeated ones too; all infinite without AUs."""
    table, anchored, maps = geometry_table("published"), shapes(points), []
    for au in codebook("paper_code")[expression]:
        canvas = np.full((SIZE, SIZE), BACKGROUND)
        for x, y, rx, ry in np.rint(anchored[table.rows(au), :4]).astype(int).tolist():
            cv2.ellipse(canvas, (x, y), (rx, ry), 0, 0, 360, 255, cv2.FILLED)
        if (canvas - BACKGROUND).sum() > 0:
            maps.append(cv2.resize(cv2.blur(cv2.resize(canvas, (GRID, GRID)), (3, 3)), (SIZE, SIZE)))
    if not maps:
        return np.full((SIZE, SIZE), np.inf, np.float32)
    highest = np.max(np.stack(maps), axis=0)
    return np.asarray((highest - highest.min()) / (highest.max() - highest.min()), np.float32)
