"""A loader that works as the published code's does, to be compared with: what it does is told by its specification.

Every item opens its file with Pillow, augments three copies of the picture (the input, an unmasked and a raw one, the
last two are not used by a training without masks), draws the AU map at full size with one canvas per AU, and moves it
through the same geometry. Its worker processes also hand all of it over, which is left out where one core is measured.
"""

from pathlib import Path

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


class PublishedWay(Dataset[dict[str, Tensor]]):
    """Items of aligned faces in files (n,), their classes (n,) and landmarks (n, 68, 2) in pixels of a 224-px face."""

    def __init__(self, files: list[Path], expressions: NDArray, points: NDArray, *, maps: bool) -> None:
        self.files, self.expressions, self.points, self.maps = files, expressions, points, maps
        self.colours = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)

    def __len__(self) -> int:
        """Count the faces."""
        return len(self.files)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Load, draw and augment one face."""
        rng = np.random.default_rng(row)
        picture = functional.resize(Image.open(self.files[row]).convert("RGB"), [256, 256])
        angle = float(rng.uniform(-6, 6)) if rng.random() < 0.5 else 0.0
        side = round(256 * float(np.sqrt(rng.uniform(0.8, 1))))
        top, left = (int(place) for place in rng.integers(0, 256 - side + 1, 2))
        mirrored, tinted = rng.random() < 0.5, rng.random() < 0.8

        def moved(image: Image.Image | Tensor, way: v2.InterpolationMode) -> Image.Image | Tensor:
            turned = functional.rotate(image, angle, way) if angle else image
            cut = functional.resized_crop(turned, top, left, side, side, [SIZE, SIZE], v2.InterpolationMode.BILINEAR)
            return functional.horizontal_flip(cut) if mirrored else cut

        item = {}
        for name in ("image", "unmasked", "raw"):
            copy = moved(picture.copy(), v2.InterpolationMode.BICUBIC)
            if tinted and name != "raw":
                copy = self.colours(copy)
            item[name] = functional.to_dtype(functional.to_image(copy), torch.float32, scale=True)
        if rng.random() < 0.5:
            item["image"] = v2.RandomErasing(1.0, (0.02, 0.33), value="random")(item["image"])
        item["image"] = functional.normalize(item["image"], [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        if self.maps:
            drawn = full_size_map(self.points[row], Expression(self.expressions[row]))
            larger = functional.resize(torch.from_numpy(drawn)[None], [256, 256])
            item["map"] = torch.as_tensor(moved(larger, v2.InterpolationMode.NEAREST)).clamp(0, 1)
        return item


def full_size_map(points: NDArray, expression: Expression) -> NDArray[np.float32]:
    """Draw the AU map with a canvas of doubles per AU, repeated AUs too; infinite where there is nothing to see."""
    table, drawn = geometry_table("published"), []
    anchored = shapes(points)
    for au in codebook("paper_code")[expression]:
        canvas = np.full((SIZE, SIZE), BACKGROUND)
        for x, y, rx, ry in np.rint(anchored[table.rows(au), :4]).astype(int).tolist():
            cv2.ellipse(canvas, (x, y), (rx, ry), 0, 0, 360, 255, cv2.FILLED)
        if (canvas - BACKGROUND).sum() > 0:
            drawn.append(cv2.resize(cv2.blur(cv2.resize(canvas, (GRID, GRID)), (3, 3)), (SIZE, SIZE)))
    if not drawn:
        return np.full((SIZE, SIZE), np.inf, np.float32)
    highest = np.max(np.stack(drawn), axis=0)
    return ((highest - highest.min()) / (highest.max() - highest.min())).astype(np.float32)
