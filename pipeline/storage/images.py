"""Image files to upright RGB pixels, and crops to the bytes of a file and back."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

Picture = NDArray[np.uint8]

MAX_PIXELS = 100_000_000  # more is refused before it is decoded: 300 MB of pixels, and no photo of a face needs it
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
WHITE = (255, 255, 255, 255)  # the background of transparent pixels
Image.MAX_IMAGE_PIXELS = None  # `read` checks its own limit before it decodes a pixel


class Unreadable(Exception):  # noqa: N818 (a state of the file, reported as status "unreadable")
    """An image file without usable pixels; the message is the reason, without the file's name."""


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image file as upright RGB (h, w, 3).

    Grey, palette, CMYK and 16-bit images become 8-bit RGB, transparent pixels lie on white, the EXIF orientation is
    applied, animations give their first frame, and colour profiles are not applied. Raises Unreadable if the file is
    missing, empty, no image, cut short or larger than `max_pixels`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    return read_bytes(data, max_pixels)


def read_bytes(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the bytes of an image file as `read` reads the file."""
    if not data:
        raise Unreadable("empty file")
    try:
        # Pillow for every format: cv2 drops transparency, and some of its versions fill what is cut off with grey.
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            return _pixels(image, max_pixels)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"no image ({', '.join(FORMATS)})") from None
    except Exception as error:  # on damaged bytes the decoders raise errors of any class
        raise Unreadable(f"damaged ({str(error) or type(error).__name__})") from None


def encode(image: Picture, quality: int | None = 95) -> NDArray[np.uint8]:
    """Encode RGB (h, w, 3) as the bytes of a JPEG file; quality None stores the pixels unchanged, as BMP."""
    suffix, options = (".bmp", []) if quality is None else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.reshape(-1)


def decode(data: NDArray[np.uint8]) -> Picture:
    """Decode the bytes that `encode` returned to RGB (h, w, 3); raise Unreadable if they hold no image."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise Unreadable("no bytes of an image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)


def _pixels(image: Image.Image, max_pixels: int) -> Picture:
    if image.width * image.height > max_pixels:
        raise Unreadable(f"larger than {max_pixels / 1e6:g} megapixels: {image.width} x {image.height}")
    image.load()  # first: Pillow turns TIFF files while it loads them, and then removes the tag
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    upright = _rgb(image)
    upright.info = {}  # exif_transpose writes all tags anew and fails on a damaged one, so it gets this one alone
    upright.getexif()[ExifTags.Base.Orientation] = orientation
    ImageOps.exif_transpose(upright, in_place=True)
    return np.array(upright)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips values above 255.
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels, whose white is unknown")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image.convert("RGBA"))
    return image.convert("RGB")
