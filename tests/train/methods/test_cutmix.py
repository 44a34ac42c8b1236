"""CutMix: one box and one permutation for images, targets and heatmaps; all randomness from the generator."""

import numpy as np
import pytest
import torch

from au_guidance.loss import au_loss
from tests.support.given_features import GivenFeatures
from train.methods import cutmix
from train.methods.base import Batch
from train.methods.cutmix import CutMix


def numbered(count=6, size=32, heatmap_size=None):
    """Image i holds i everywhere, and so does its heatmap; its target is class i."""
    numbers = torch.arange(float(count))
    side = heatmap_size or size
    images = numbers.view(-1, 1, 1, 1).expand(count, 3, size, size).clone()
    heatmaps = numbers.view(-1, 1, 1).expand(count, side, side).clone()
    return Batch(images, torch.eye(count), heatmaps, torch.ones(count, dtype=torch.bool))


def method(**options):
    return CutMix(GivenFeatures(), 7, **options)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_targets_are_the_areas_and_heatmaps_go_with_the_images():
    shares = []
    for seed in range(200):
        mixed = method().augment(numbered(), seeded(seed))
        for own in range(6):
            areas = [(mixed.images[own, 0] == other).float().mean() for other in range(6)]
            torch.testing.assert_close(mixed.target[own], torch.stack(areas), rtol=0, atol=1e-6)
            assert torch.equal(mixed.images[own, 0], mixed.heatmaps[own])
            assert torch.equal(mixed.images[own, 0], mixed.images[own, 2])
            rows, columns = (mixed.images[own, 0] != own).nonzero(as_tuple=True)
            if len(rows):  # a full rectangle
                sides = [int(places.max() - places.min()) + 1 for places in (rows, columns)]
                assert sides[0] * sides[1] == len(rows)
        shares.append(1 - mixed.target.diagonal().min().item())
    assert max(shares) > 0.8
    assert min(shares) < 0.02


def test_a_box_by_hand(monkeypatch):
    class Chance:
        def __init__(self, centres):
            self.centres = iter(centres)

        def integers(self, _length):
            return next(self.centres)

    assert cutmix._box((224, 224), 0.25, Chance([112, 60])) == (56, 168, 4, 116)
    assert cutmix._box((224, 224), 0.25, Chance([0, 223])) == (0, 56, 167, 224)  # cut off at two borders
    assert cutmix._box((100, 50), 0.09, Chance([50, 25])) == (35, 65, 18, 32)
    monkeypatch.setattr(cutmix, "_box", lambda *_: (8, 16, 4, 20))
    batch = numbered(size=32, heatmap_size=16)
    mixed = method().augment(batch, seeded(1))
    partner = mixed.images[:, 0, 8, 4].long()
    assert sorted(partner.tolist()) == list(range(6))
    assert (partner != torch.arange(6)).any()
    expected = batch.heatmaps.clone()
    expected[:, 4:8, 2:10] = partner[:, None, None].float()
    assert torch.equal(mixed.heatmaps, expected)
    share = 8 * 16 / 32**2
    torch.testing.assert_close(mixed.target, (1 - share) * torch.eye(6) + share * torch.eye(6)[partner])
    assert torch.equal(batch.images, numbered().images)  # the batch itself is left alone


@pytest.mark.parametrize(
    ("box", "valid"),
    [
        ((5, 5, 3, 9), [True, True, False, False]),  # no area: own
        ((0, 8, 0, 8), [True, False, False, False]),  # a part: both
        ((0, 32, 0, 32), [True, False, True, False]),  # all: the partner's
    ],
)
def test_who_keeps_the_au_term(monkeypatch, box, valid):
    """Faces 0 and 1 have heatmaps, 2 and 3 have none; their partners are 1, 2, 0 and 3."""
    monkeypatch.setattr(cutmix, "_box", lambda *_: box)
    monkeypatch.setattr(cutmix.np.random, "default_rng", lambda _: Fixed(np.array([1, 2, 0, 3])))
    batch = numbered(4)
    batch.heatmaps[2:] = float("nan")
    batch = Batch(batch.images, batch.target, batch.heatmaps, torch.tensor([True, True, False, False]))
    mixed = method().augment(batch)
    assert mixed.valid.tolist() == valid
    assert torch.isfinite(mixed.heatmaps[mixed.valid]).all()
    assert torch.isfinite(au_loss(mixed.images, mixed.heatmaps, mixed.valid))
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(4))  # classification keeps everyone


class Fixed:
    """A random generator that is not random."""

    def __init__(self, order):
        self.order = order

    def random(self):
        return 0.0

    def beta(self, *_):
        return 0.5

    def permutation(self, _):
        return self.order


def test_all_randomness_comes_from_the_generator():
    mixing = method()
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first, again, other = (mixing.augment(numbered(), seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == numpy_state
    torch.manual_seed(5)
    assert torch.equal(mixing.augment(numbered()).images, first.images)


def test_probability():
    batch = numbered()
    assert method(prob=0.0).augment(batch, seeded(0)) is batch
    changed = [method(prob=0.3).augment(batch, seeded(seed)) is not batch for seed in range(300)]
    assert 0.22 < np.mean(changed) < 0.38


@pytest.mark.parametrize(("beta", "spread"), [(0.2, 0.4), (1.0, 0.29), (50.0, 0.05)])
def test_the_share_is_drawn_from_beta(beta, spread, monkeypatch):
    asked = []
    monkeypatch.setattr(cutmix, "_box", lambda size, share, _: asked.append(share) or (0, 0, 0, 0))
    mixing = method(beta=beta)
    for seed in range(300):
        mixing.augment(numbered(2, size=4), seeded(seed))
    assert np.std(asked) == pytest.approx(spread, rel=0.15)
    assert np.mean(asked) == pytest.approx(0.5, abs=0.08)
