"""Image files to upright RGB pixels, and crops to the bytes of a file and back."""

import logging
import stat
from importlib import import_module
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pipeline.storage.formats import FORMATS

Picture = NDArray[np.uint8]

MAX_PIXELS = 100_000_000  # more is refused before it is decoded: 300 MB of pixels, and no photo of a face needs it
MAX_BYTES = 512 << 20  # of a file; more is refused before it is read
WHITE = (255, 255, 255, 255)  # the background of transparent pixels
NARROW = 1 << 14  # 16-bit values that span less are stretched: sensors of 10, 12 and 14 bits, thermal cameras
Image.MAX_IMAGE_PIXELS = None  # `read` checks its own limit before it decodes a pixel
log = logging.getLogger(__name__)


class Unreadable(Exception):  # noqa: N818 (a state of the file, reported as status "unreadable")
    """An image file without usable pixels; the message is the reason, without the file's name."""


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image file as upright RGB (h, w, 3).

    Grey, palette, CMYK and 16-bit images become 8-bit RGB, transparent pixels lie on white, the EXIF orientation is
    applied, animations give their first frame, and colour profiles are not applied. 16-bit values that span less than
    14 bits are stretched to the full range, which the log says. Raises Unreadable if the file is missing, no regular
    file (such as a named pipe), empty, no image, cut short or larger than MAX_BYTES or `max_pixels`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("no regular file")
        if status.st_size > MAX_BYTES:
            raise Unreadable(f"larger than {MAX_BYTES >> 20} MB: {status.st_size >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    return read_bytes(data, max_pixels, str(path))


def read_bytes(data: bytes, max_pixels: int = MAX_PIXELS, name: str = "picture") -> Picture:
    """Read the bytes of an image file as `read` reads the file; the log calls it `name`."""
    if not data:
        raise Unreadable("empty file")
    heif = _is_heif(data)
    if heif:
        _register_heif()
    formats = [known for known in FORMATS if heif or known != "HEIF"]
    try:
        # Pillow for every format: cv2 drops transparency, and some of its versions fill what is cut off with grey.
        with Image.open(BytesIO(data), formats=formats) as image:
            return _pixels(image, data, max_pixels, name)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"no image ({', '.join(FORMATS)})") from None
    except Exception as error:  # on damaged bytes the decoders raise errors of any class
        raise Unreadable(f"damaged ({str(error) or type(error).__name__})") from None


def is_picture(path: Path) -> bool:
    """Return whether a file begins as a picture of a known format; what follows may be damaged."""
    try:
        with path.open("rb") as file:
            if _is_heif(file.read(256)):
                return True
        with Image.open(path, formats=[known for known in FORMATS if known != "HEIF"]):
            return True
    except Exception:  # on damaged bytes the decoders raise errors of any class
        return False


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


def _is_heif(data: bytes) -> bool:
    """Return whether the file's first box names a HEIF brand and no AVIF, which has the same container."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return data[4:8] == b"ftyp" and b"avif" not in brands and brands[:4] in (b"heic", b"heix", b"mif1", b"msf1")


def _register_heif() -> None:
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise Unreadable("a HEIC picture; to read it, install the package pillow-heif") from None


def _pixels(image: Image.Image, data: bytes, max_pixels: int, name: str) -> Picture:
    if image.width * image.height > max_pixels:
        raise Unreadable(f"larger than {max_pixels / 1e6:g} megapixels: {image.width} x {image.height}")
    upper_bytes = image.mode == "RGB" and ";16" in str(
        getattr(image, "tile", "")
    )  # what Pillow keeps of 16-bit colours
    image.load()  # first: Pillow turns TIFF files while it loads them, and then removes the tag
    if upper_bytes and np.ptp(np.asarray(image)) < NARROW >> 8:
        return _narrow_colours(data, name)
    return upright(image, name)


def upright(image: Image.Image, name: str = "picture") -> Picture:
    """Return an open image as `read` returns a file, but for 16-bit colours; raise Unreadable for 32-bit pixels."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    upright = _rgb(image, name)
    upright.info = {}  # exif_transpose writes all tags anew and fails on a damaged one, so it gets this one alone
    upright.getexif()[ExifTags.Base.Orientation] = orientation
    ImageOps.exif_transpose(upright, in_place=True)
    return np.array(upright)


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips values above 255.
        return Image.fromarray(_to_8_bits(np.asarray(image), name)).convert("RGB")
    if image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels, whose white is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image.convert("RGBA"))
    return image.convert("RGB")


def _narrow_colours(data: bytes, name: str) -> Picture:
    """Read 16-bit colours by OpenCV, which keeps both bytes and turns the picture upright."""
    values = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR), np.uint16)
    return np.ascontiguousarray(_to_8_bits(values, name)[..., ::-1])


def _to_8_bits(values: NDArray[np.uint16], name: str) -> Picture:
    """Scale 16-bit values to 8 bits, by the full range or, if they span less than NARROW, by the used one."""
    low, high = float(values.min()), float(values.max())
    if not 0 < high - low < NARROW:
        return np.round(values / 257).astype(np.uint8)
    log.warning("%s: the 16-bit values lie between %d and %d; they are stretched to the full range", name, low, high)
    return np.round((values - low) * (255 / (high - low))).astype(np.uint8)
