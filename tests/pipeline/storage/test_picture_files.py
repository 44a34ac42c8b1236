"""Every format under every ending, 16-bit values of a narrow range, and files that are no regular ones."""

import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
from PIL import Image, features

from pipeline.storage import images
from pipeline.storage.formats import ENDINGS, FORMATS, SUFFIXES
from pipeline.storage.images import Unreadable, read, read_bytes
from tests.support.paths import ROOT

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)  # 12 bits, 0 to 4080
OPTIONS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}, "JPEG": {"quality": 100}}
TOLERANCE = {"JPEG": 6, "AVIF": 6, "GIF": 12}  # the others keep every value


def smooth() -> np.ndarray:
    grid = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return cv2.resize(grid, (96, 64), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in (".heic", ".heif")])
def test_each_format_is_read_under_each_of_its_endings(tmp_path, suffix):
    format_ = next(name for name, endings in FORMATS.items() if suffix[1:] in endings)
    if format_ == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}", format_, **OPTIONS.get(format_, {}))
    difference = np.abs(read(tmp_path / f"a{suffix}").astype(int) - smooth())
    assert np.quantile(difference, 0.9) <= TOLERANCE.get(format_, 0)


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a"])
def test_the_content_decides_not_the_name(tmp_path, name):
    Image.fromarray(smooth()).save(tmp_path / name, "PNG")
    np.testing.assert_array_equal(read(tmp_path / name), smooth())


def test_the_tutorial_lists_the_endings():
    assert f"Names end in {ENDINGS};" in (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")


def test_heic_without_its_package_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Unreadable, match="a HEIC picture; to read it, install the package pillow-heif"):
        read_bytes(HEIC)
    with pytest.raises(Unreadable, match="no image"):
        read_bytes(b"\0\0\0\x18ftypisom" + bytes(100))  # a video


def test_heic_is_read_with_its_package(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", "HEIF", quality=100)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("lowest", [0, 28000])
def test_a_narrow_range_of_16_bits_is_stretched_and_logged(tmp_path, caplog, suffix, lowest):
    path = tmp_path / f"thermal{suffix}"
    cv2.imwrite(str(path), RAMP + np.uint16(lowest))
    pixels = read(path)
    np.testing.assert_array_equal(pixels[..., 1], np.arange(256).reshape(16, 16))
    assert caplog.messages == [
        f"{path}: the 16-bit values lie between {lowest} and {lowest + 4080}; they are stretched to the full range"
    ]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_narrow_colours_of_16_bits_are_stretched_together(tmp_path, caplog, suffix):
    path = tmp_path / f"colour{suffix}"
    cv2.imwrite(str(path), np.dstack([RAMP, RAMP // 2, RAMP // 4]))  # BGR
    pixels = read(path)
    expected = np.arange(256).reshape(16, 16)
    np.testing.assert_array_equal(pixels[..., 2], expected)
    np.testing.assert_allclose(pixels[..., 1], expected / 2, atol=0.51)
    np.testing.assert_allclose(pixels[..., 0], expected / 4, atol=0.51)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("highest", [1 << 14, 30000, 65535])
def test_a_full_range_of_16_bits_keeps_its_brightness(tmp_path, caplog, highest):
    caplog.set_level(logging.INFO)
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, highest]], np.uint16))
    assert read(tmp_path / "a.png")[0, :, 0].tolist() == [0, round(highest / 257)]
    cv2.imwrite(str(tmp_path / "even.png"), np.full((2, 2), 300, np.uint16))  # no range to stretch
    assert read(tmp_path / "even.png").max() == 1
    assert not caplog.messages


def reason(path) -> str:
    try:
        return str(read(path).shape)
    except Unreadable as error:
        return str(error)


def test_pipes_devices_and_folders_are_refused_without_reading(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
    try:
        for name in ("pipe.jpg", "zero.jpg", "folder.jpg"):
            assert pool.submit(reason, tmp_path / name).result(timeout=20) == "no regular file"
    finally:
        for process in (pool._processes or {}).values():
            process.kill()  # one that hangs would keep the test from ending
        pool.shutdown()


def test_a_file_above_the_limit_is_refused_and_a_link_to_a_picture_is_read(tmp_path, monkeypatch):
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "link.png"), smooth())
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate((512 << 20) + 1)  # a hole: it takes no space
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert reason(tmp_path / "huge.jpg") == "larger than 512 MB: 512 MB"
    assert images.MAX_BYTES == 512 << 20
