"""Pictures and CSV files inside the page, as data URIs; pictures no larger than they are shown."""

import base64
import io
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.figures import style

FIGURE = 1100  # largest width of a figure, pixels
FACE = 112  # side of a face in the gallery, pixels
MAP = 96  # side of an average map, pixels
QUALITY = 82


@cache
def figure(path: Path) -> tuple[str, tuple[int, int]]:
    """Encode a figure; return it with its width and height in pixels, so that the page can reserve its place."""
    with Image.open(path) as image:
        shrink = min(1.0, FIGURE / image.width)
        return _encoded(image, FIGURE, QUALITY), (round(shrink * image.width), round(shrink * image.height))


@cache
def face(path: Path) -> str:
    """Encode a picture of the gallery."""
    with Image.open(path) as image:
        return _encoded(image, FACE, 75)


def colour(values: NDArray[np.floating], low: float, high: float) -> str:
    """Encode a map (h, w) in the colours of the figures, `low` to `high`."""
    scaled = np.clip((values - low) / (high - low or 1.0), 0, 1)
    pixels = (matplotlib.colormaps[style.MAP](scaled)[..., :3] * 255).round().astype(np.uint8)
    return _encoded(Image.fromarray(pixels), MAP, QUALITY)


def _encoded(image: Image.Image, side: int, quality: int) -> str:
    shown = image.convert("RGBA" if image.mode in ("RGBA", "LA", "P") else "RGB")
    if shown.mode == "RGBA":  # figures are drawn on white, whatever the page's colours are
        white = Image.new("RGBA", shown.size, "white")
        shown = Image.alpha_composite(white, shown).convert("RGB")
    shown.thumbnail((side, 10 * side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.save(stream, "WEBP", quality=quality, method=4)
    return _uri("image/webp", stream.getvalue())


def csv(text: str) -> str:
    """Encode a CSV."""
    return _uri("text/csv", text.encode())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
