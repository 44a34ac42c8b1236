"""2D-FAN: which window it sees, how its maps are read, and what the mirror image adds."""

import numpy as np
import pytest

from pipeline.extractors import face_alignment as fan
from pipeline.geometry import MIRROR_68


def test_window_by_hand() -> None:
    # (100 + 95) * 200 / 195 = 200 px around the box's centre (80, 77.5), raised by 0.12 * 95.
    matrix = fan.window(np.array([30.0, 30.0, 130.0, 125.0]))
    assert np.allclose(matrix, [[1.28, 0, 127.5 - 1.28 * 80], [0, 1.28, 127.5 - 1.28 * (77.5 - 11.4)]])


def test_read_out_by_hand() -> None:
    maps = np.zeros((1, 68, 64, 64), np.float32)
    maps[0, :, 20, 10] = 0.7
    maps[0, :, 20, 11] = 0.3
    maps[0, :, 19, 10] = 0.2
    maps[0, 5] = 0
    maps[0, 5, 63, 0] = 0.9
    peaks, heights = fan.read_out(maps)
    assert np.allclose(peaks[0, 0], (10.25, 19.75))
    assert np.allclose(peaks[0, 5], (0, 63))
    assert np.allclose(heights[0, [0, 5]], (0.7, 0.9))


@pytest.mark.slow
def test_read_out_is_the_packages_but_for_its_half_cell() -> None:
    from face_alignment.utils import get_preds_fromhm

    maps = np.random.default_rng(0).normal(size=(2, 68, 64, 64)).astype(np.float32)
    peaks, heights = fan.read_out(maps)
    theirs, _, scores = get_preds_fromhm(maps)
    assert np.allclose(peaks, theirs - 0.5)  # they count from a cell's edge
    assert np.allclose(heights, scores)


def test_flip_averages_the_maps_of_a_face_and_its_mirror_image() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    stub = nn.Conv2d(3, 68, 3, stride=4, padding=1)
    cpu = torch.device("cpu")
    face = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)

    def maps(picture: np.ndarray, flip: bool) -> np.ndarray:
        return fan._maps(lambda shown: [stub(shown)], [picture], cpu, flip=flip)[0]  # type: ignore[arg-type]

    def mirrored(values: np.ndarray) -> np.ndarray:
        return values[MIRROR_68][:, :, ::-1]

    plain, other = maps(face, flip=False), mirrored(maps(face[:, ::-1], flip=False))
    averaged = maps(face, flip=True)
    np.testing.assert_allclose(averaged, (plain + other) / 2, atol=1e-6)
    np.testing.assert_allclose(maps(face[:, ::-1], flip=True), mirrored(averaged), atol=1e-6)
    assert np.abs(plain - other).max() > 0.1
