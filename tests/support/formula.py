"""Weights and images that follow from a formula, so that a stored answer of the published code needs no stored weights.

Restates the recipe behind the reference values: a tensor depends on its name in the published layout and on its shape.
"""

from zlib import crc32

import numpy as np


def generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([crc32(name.encode()), 0]))


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Batch statistics and scales near their usual values; matrices and kernels with variance 1 / inputs."""
    random, kind = generator(name), name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.array(7)
    if kind == "running_var":
        return random.uniform(0.8, 1.25, shape).astype(np.float32)
    if kind == "weight" and len(shape) == 1:
        return random.uniform(0.6, 1.4, shape).astype(np.float32)
    drawn = random.standard_normal(shape)
    if kind.endswith(("cls_token", "pos_embed")):
        return (drawn * 0.3).astype(np.float32)
    return (drawn * 0.1 if len(shape) == 1 else drawn / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def images(size: int) -> np.ndarray:
    """Two network inputs (2, 3, size, size): coloured tiles at four scales."""
    random = generator("images")
    total = np.zeros((2, 3, size, size))
    for tiles, strength in ((4, 1.0), (8, 0.7), (14, 0.5), (56, 0.3)):
        grid = random.standard_normal((2, 3, tiles, tiles))
        total += strength * grid.repeat(size // tiles, 2).repeat(size // tiles, 3)
    return np.clip(total, -2.1, 2.6).astype(np.float32)


def heatmaps(size: int = 224) -> np.ndarray:
    """Two maps (2, size, size) in [0, 1] for AU heatmaps: maxima of three Gaussians each, sigma size / 16."""
    row, column = np.mgrid[:size, :size] * (224 / size)
    places = (((150, 80), (150, 144), (95, 112)), ((85, 75), (85, 149), (170, 112)))
    maps = [[np.exp(-((row - r) ** 2 + (column - c) ** 2) / 392) for r, c in three] for three in places]
    highest = np.max(maps, axis=1)
    low, high = highest.min((1, 2), keepdims=True), highest.max((1, 2), keepdims=True)
    return ((highest - low) / (high - low)).astype(np.float32)
