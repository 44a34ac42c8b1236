"""AU maps drawn for a batch are those that are drawn one by one."""

import numpy as np
import pytest
import torch

from au_guidance.expressions import Expression
from au_guidance.heatmap import draw, shapes
from tests.support.paths import GOLDEN
from train.card.schema import Heatmap
from train.data.au_maps import Renderer

GOLDEN_FILE = GOLDEN / "au_maps.npz"


def faces(rng):
    """Landmarks of real proportions, moved, scaled and shaken; nonsense; and none."""
    golden = np.load(GOLDEN_FILE)["landmarks"] * 224 / 256
    moved = [
        (points - 112) * rng.uniform(0.5, 1.6) + 112 + rng.uniform(-60, 60, 2) for points in golden for _ in range(4)
    ]
    shaken = [points + rng.normal(0, 6, (68, 2)) for points in golden]
    nonsense = [rng.uniform(-200, 400, (68, 2)) for _ in range(6)]
    away = [golden[0] + 900, np.full((68, 2), np.nan), np.full((68, 2), 100.0)]
    return [*golden, *moved, *shaken, *nonsense, *away]


@pytest.mark.parametrize("codebook", ["paper_code", "emfacs"])
@pytest.mark.parametrize("geometry", ["published", "symmetric"])
def test_a_batch_equals_single_maps(geometry, codebook):
    points = faces(np.random.default_rng(0))
    stored = np.stack([shapes(face, geometry) for face in points]).astype(np.float32)
    every = np.repeat(np.arange(len(points)), len(Expression))
    expressions = np.tile(np.arange(len(Expression)), len(points))
    renderer = Renderer(stored[every], expressions, Heatmap(codebook=codebook, geometry=geometry), torch.device("cpu"))
    rows = np.random.default_rng(1).permutation(len(every))
    for batch in np.array_split(rows, len(rows) // 40):
        maps, valid = renderer(torch.from_numpy(batch))
        for row, found, there in zip(batch, maps.numpy(), valid.tolist(), strict=True):
            expected = draw(stored[every[row]], Expression(expressions[row]), codebook=codebook, geometry=geometry)
            assert there == (expected is not None), (every[row], expressions[row])
            np.testing.assert_allclose(found, 0 if expected is None else expected, atol=1e-5)
