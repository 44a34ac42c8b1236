"""What other people's code may use of this project's networks, without its trainer.

    from eval.api import load

    faces = load().explain("photo.jpg")  # load("checkpoint.safetensors") takes another network

For the AU heatmaps and the loss, in anybody's training loop, see the package `au_guidance`.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eval.explain.explainer import BATCH_SIZE, Explainer
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.networks import OURS
from pipeline.errors import UserError
from pipeline.storage import images

__all__ = ["Explainer", "Explanation", "PictureExplainer", "load"]

Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


class PictureExplainer(Explainer):
    """An `Explainer` of pictures in any form that `read_picture` takes."""

    def explain(self, image: Picture, *, every_class: bool = False) -> list[Explanation]:
        """Explain the faces of a picture, from left to right; none without a face.

        `every_class` also gives the class maps of the other expressions. Raises as `read_picture` does.
        """
        return next(self.explain_all([image], every_class=every_class))

    def explain_all(
        self, images: Iterable[Picture], *, every_class: bool = False, batch_size: int = BATCH_SIZE
    ) -> Iterator[list[Explanation]]:
        """Explain pictures one after another; the network gets at most `batch_size` faces at a time."""
        return super().explain_all(map(read_picture, images), every_class=every_class, batch_size=batch_size)


def load(path: str | Path = OURS, device: torch.device | str = "cpu") -> PictureExplainer:
    """Load a network; `load().explain(picture)` explains the faces of a picture with the one in `models/photographs`.

    A path is that of a checkpoint, of a run's folder that holds one, or of a folder that `python -m eval.export
    --hub` wrote. A picture is a path, an image of Pillow, or an array of uint8: grey (h, w), RGB (h, w, 3) or RGBA (h,
    w, 4). Raises UserError if the network is missing, damaged or something else.
    """
    return PictureExplainer(path, device)


def read_picture(picture: Picture) -> RGBImage:
    """Return a picture as upright RGB (h, w, 3) of uint8; transparent pixels lie on white.

    Raises UserError if a file cannot be read, TypeError and ValueError for what is no picture or has other numbers.
    """
    if isinstance(picture, str | os.PathLike):
        try:
            return images.read(Path(picture))
        except images.Unreadable as error:
            raise UserError(f"{picture}: unreadable: {error}") from None
    if isinstance(picture, Image.Image):
        try:
            return images.upright(picture)
        except images.Unreadable as error:
            raise ValueError(f"this image cannot be explained: {error}") from None
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"a picture is a path, an image of Pillow or an array of numpy, not {type(picture).__name__}")
    return _from_array(picture)


def _from_array(picture: NDArray[Any]) -> RGBImage:
    grey_or_colours = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))
    if picture.dtype != np.uint8:
        raise ValueError(f"a picture holds uint8 from 0 to 255, not {picture.dtype}; scale and convert it first")
    if not grey_or_colours or not picture.size:
        raise ValueError(f"a picture is grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4), not {picture.shape}")
    if picture.shape[2:] == (3,):
        return picture
    return images.upright(Image.fromarray(picture))
