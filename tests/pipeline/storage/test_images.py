"""Image files become the pixels that a person sees, whatever their format; broken ones are refused with a reason."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.storage.images import Unreadable, decode, encode, read

COLOUR = (200, 40, 90)


def save(folder: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def plain(mode: str = "RGB", colour: object = COLOUR) -> Image.Image:
    return Image.new(mode, (6, 4), colour)  # type: ignore[arg-type]


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "name", "options", "expected"),
    [
        (plain(), "a.png", {}, COLOUR),
        (plain(), "a.bmp", {}, COLOUR),
        (plain(), "a.tif", {}, COLOUR),
        (plain(), "a.webp", {"lossless": True}, COLOUR),
        (plain("L", 90), "a.png", {}, (90, 90, 90)),
        (plain("L", 90), "a.jpg", {}, (90, 90, 90)),
        (plain("1", 1), "a.png", {}, (255, 255, 255)),
        (plain("RGBA", (*COLOUR, 255)), "a.png", {}, COLOUR),
        (plain("RGBA", (*COLOUR, 0)), "a.png", {}, (255, 255, 255)),
        (plain("RGBA", (200, 40, 90, 51)), "a.png", {}, (244, 212, 222)),  # a fifth of the colour, the rest white
        (plain("LA", (90, 0)), "a.png", {}, (255, 255, 255)),
        (plain().quantize(4), "a.png", {}, COLOUR),
        (plain().quantize(4), "a.gif", {}, COLOUR),
        (plain().quantize(4), "a.png", {"transparency": 0}, (255, 255, 255)),
        (plain(), "a.png", {"transparency": COLOUR}, (255, 255, 255)),
        (plain().convert("CMYK"), "a.tif", {}, COLOUR),
        (plain("CMYK", (0, 255, 255, 0)), "a.tif", {}, (255, 0, 0)),
        (plain("CMYK", (0, 255, 255, 0)), "a.jpg", {"quality": 100}, (255, 0, 0)),
        (plain("CMYK", (0, 0, 0, 255)), "a.jpg", {"quality": 100}, (0, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_8_bit_rgb(tmp_path, image, name, options, expected):
    pixels = read(save(tmp_path, image, name, **options))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 6, 3)
    np.testing.assert_allclose(pixels.reshape(-1, 3), np.tile(expected, (24, 1)), atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_images_keep_their_brightness(tmp_path, suffix):
    grey = tmp_path / f"grey{suffix}"
    colour = tmp_path / f"colour{suffix}"
    cv2.imwrite(str(grey), np.array([[0, 40000, 65535]], np.uint16))
    cv2.imwrite(str(colour), np.full((2, 2, 3), (10000, 30000, 50000), np.uint16))  # BGR
    assert read(grey).tolist() == [[[0, 0, 0], [156, 156, 156], [255, 255, 255]]]  # 40000 / 257 = 155.6
    np.testing.assert_allclose(read(colour)[0, 0], (195, 117, 39), atol=1)


def test_jpeg_is_decoded_as_other_libraries_decode_it(tmp_path):
    path = save(tmp_path, Image.fromarray(noise()), "a.jpg", quality=90)
    data = np.fromfile(path, np.uint8)
    np.testing.assert_array_equal(read(path), cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


# Where the camera's top left corner (row 0, column 0) of a 2 x 3 picture lies once the picture is upright.
CORNER = {1: (0, 0), 2: (0, 2), 3: (1, 2), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (2, 1), 8: (2, 0)}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", CORNER)
def test_exif_orientation_turns_the_picture_upright(tmp_path, orientation, suffix):
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[0, 0] = COLOUR
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} | ({"lossless": True} if suffix == "webp" else {})
    pixels = read(save(tmp_path, Image.fromarray(stored), f"a.{suffix}", **options))
    assert pixels.shape == ((2, 3, 3) if orientation < 5 else (3, 2, 3))
    assert pixels[CORNER[orientation]].tolist() == list(COLOUR)
    assert pixels.sum() == sum(COLOUR)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_equals_the_one_that_opencv_turns(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, Image.fromarray(noise()), "a.jpg", exif=exif)
    np.testing.assert_array_equal(read(path), cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def test_a_damaged_tag_does_not_cost_the_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Canon"
    path = save(tmp_path, Image.fromarray(noise()), "a.jpg", exif=exif)
    upright, maker, width = read(path), b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02"  # a word as the image's width
    path.write_bytes(path.read_bytes().replace(maker, width))
    with Image.open(path) as image, pytest.raises(Exception, match="not an integer"):
        ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(read(path), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_cost_the_picture(tmp_path):
    path = save(tmp_path, plain("L", 90), "a.jpg", exif=b"Exif\0\0MM\0*garbage")
    assert (read(path) == 90).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [plain(colour=colour) for colour in (COLOUR, (0, 0, 0), (9, 9, 9))]
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path, frames[0], f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert (read(path) == COLOUR).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("format_", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {}), ("GIF", {}),
     ("AVIF", {})],
)  # fmt: skip
def test_a_file_cut_short_is_refused_wherever_it_ends(tmp_path, format_, options):
    stream = BytesIO()
    Image.fromarray(noise()).save(stream, format_, **options)
    data = stream.getvalue()
    path = tmp_path / "cut"
    path.write_bytes(data)
    whole = read(path)
    for length in [*range(1, len(data), len(data) // 25), *range(len(data) - 40, len(data))]:
        path.write_bytes(data[:length])
        with suppress(Unreadable):
            # Some formats end with checksums and trailers: without them no pixel is missing.
            np.testing.assert_array_equal(read(path), whole)
            assert length > len(data) - 40


def test_a_jpeg_that_lacks_its_last_byte_is_refused(tmp_path):
    path = save(tmp_path, Image.fromarray(noise()), "a.jpg")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Unreadable, match="damaged"):
        read(path)


def test_reasons(tmp_path):
    def reason(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Unreadable) as caught:
            read(tmp_path / name)
        return str(caught.value)

    assert reason("empty.jpg", b"") == "empty file"
    assert reason("page.jpg", b"<html>404</html>").startswith("no image (JPEG, PNG,")
    with pytest.raises(Unreadable, match="cannot be opened \\(No such file"):
        read(tmp_path / "absent.jpg")
    Image.new("F", (4, 4)).save(tmp_path / "depth.tif")
    with pytest.raises(Unreadable, match="32-bit"):
        read(tmp_path / "depth.tif")
    with pytest.raises(Unreadable, match="megapixels: 6 x 4"):
        read(save(tmp_path, plain(), "large.png"), max_pixels=20)


@pytest.mark.parametrize("side", [10_001, 20_000])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, side):
    path = tmp_path / "huge.png"
    Image.new("1", (side, side)).save(path)
    with pytest.raises(Unreadable, match="larger than 100 megapixels"):
        read(path)


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=300), head=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, head):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(head + data)
    with suppress(Unreadable):
        assert read(path).shape[2] == 3


def test_jpeg_bytes_keep_the_colours_and_are_those_of_a_jpeg_file():
    smooth = cv2.resize(noise(4, 6), (96, 64), interpolation=cv2.INTER_CUBIC)
    data = encode(smooth)
    assert data.dtype == np.uint8
    assert data.ndim == 1
    pixels = decode(data)
    assert np.abs(pixels.astype(int) - smooth).mean() < 3
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(BytesIO(data.tobytes()))))


def test_quality_decides_the_size():
    assert len(encode(noise(), 50)) < len(encode(noise(), 95)) / 2


def test_raw_bytes_keep_every_pixel():
    picture = noise()
    np.testing.assert_array_equal(decode(encode(picture, None)), picture)
    assert len(encode(picture, None)) < picture.size + 2048


@pytest.mark.parametrize("data", [b"", b"no jpeg"])
def test_bytes_that_are_no_jpeg_are_refused(data):
    with pytest.raises(Unreadable):
        decode(np.frombuffer(data, np.uint8))
