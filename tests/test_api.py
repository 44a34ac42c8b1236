"""The README's promise: the AU loss works on anybody's network, with a few lines around it."""

import numpy as np
import timm
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from pipeline.action_units import render
from pipeline.expressions import Expression
from tests.conftest import mean_face
from train.losses import attention, au_loss, cosine, resize
from train.method import Batch

EXPRESSIONS = [Expression.HAPPINESS, Expression.NEUTRAL, Expression.FEAR, Expression.SADNESS]
SIZE = 64


def batch_of_one_user() -> Batch:
    """Four noise images with the heatmaps of their expressions; Neutral has none."""
    points = (mean_face() + 0.5) * SIZE / 224 - 0.5
    drawn = [render(points, expression, SIZE) for expression in EXPRESSIONS]
    empty = np.zeros((SIZE, SIZE), np.float32)
    heatmaps = torch.from_numpy(np.stack([empty if heatmap is None else heatmap for heatmap in drawn]))
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.eye(7)[EXPRESSIONS], heatmaps, torch.tensor([h is not None for h in drawn]))


def losses_of(network: torch.nn.Module, features_of, steps: int) -> list[float]:
    batch, optimiser = batch_of_one_user(), torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    values = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = au_loss({5: features_of(batch.images)}, batch, layers=[5])
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    return values


def test_a_torchvision_network_learns_where_to_look():
    torch.manual_seed(0)
    network = create_feature_extractor(torchvision.models.resnet18(), {"layer2": "last"})
    values = losses_of(network, lambda images: network(images)["last"], steps=8)
    assert values[-1] < 0.75 * values[0], values
    batch = batch_of_one_user()
    with torch.no_grad():
        maps = attention(network(batch.images)["last"])
    found = cosine(maps, resize(batch.heatmaps, maps.shape[-1]))[batch.valid]
    assert batch.valid.tolist() == [True, False, True, True]
    assert 1 - found.mean().item() < 0.75 * values[0]


def test_a_timm_network_learns_where_to_look():
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", features_only=True, out_indices=(2,))
    values = losses_of(network, lambda images: network(images)[0], steps=8)
    assert values[-1] < 0.75 * values[0], values
