"""What every method of the family must do, in each of its modes."""

import pytest
import torch
from torch import nn

from au_guidance.loss import attention, au_loss
from pipeline.plugins import names
from tests.support.family import FAMILY, RUNS, noisy
from train.card.options import method_options
from train.checkpoints import checkpoint
from train.data.prepared import Prepared
from train.methods.base import Batch, build_method


@pytest.fixture
def batch():
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    centres = [(16, 16), (0, 0), (44, 20), (30, 50)]
    heatmaps = torch.stack([torch.exp(-((row - y) ** 2 + (column - x) ** 2) / 200) for y, x in centres])
    return Batch(images, torch.eye(7)[[1, 0, 3, 5]], heatmaps, torch.tensor([True, False, True, True]))


@pytest.fixture
def run(make_card):
    """Make the card of a method in a mode, small enough for a test."""

    def make(name, mode):
        changes = dict(FAMILY[name])
        if "mode" in method_options(name):
            changes["model__options"] = {**changes.get("model__options", {}), "mode": mode}
        return make_card(method=name, **changes)

    return make


def test_the_family_is_complete():
    assert names("train.methods") == sorted(FAMILY)


def loss(method, batch, card):
    output = method(batch.images, batch.target)
    return method.classification_loss(output, batch.target) + au_loss(
        output.features, batch.heatmaps, batch.valid, layers=card.guidance.layers
    )


@pytest.mark.parametrize(("name", "mode"), RUNS)
class TestContract:
    def test_gradients_reach_every_parameter(self, name, mode, run, batch):
        card = run(name, mode)
        torch.manual_seed(0)
        method = noisy(build_method(card))
        loss(method, batch, card).backward()
        silent = [name for name, value in method.named_parameters() if value.grad is None or not value.grad.any()]
        assert silent == []

    def test_au_loss_falls_on_one_batch(self, name, mode, run, batch):
        card = run(name, mode)
        torch.manual_seed(0)
        method = build_method(card)
        optimiser = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
        values = []
        for _ in range(12):
            optimiser.zero_grad()
            value = au_loss(
                method(batch.images, batch.target).features, batch.heatmaps, batch.valid, layers=card.guidance.layers
            )
            value.backward()
            optimiser.step()
            values.append(value.item())
        assert values[-1] < 0.9 * values[0]

    def test_augmentation_needs_no_generator_and_keeps_the_shapes(self, name, mode, run, batch):
        torch.manual_seed(0)
        changed = build_method(run(name, mode)).augment(batch)
        for part in ("images", "target", "heatmaps", "valid"):
            assert getattr(changed, part).shape == getattr(batch, part).shape
        torch.testing.assert_close(changed.target.sum(1), torch.ones(4))

    def test_a_batch_equals_one_image_at_a_time(self, name, mode, run, batch):
        torch.manual_seed(0)
        method = noisy(build_method(run(name, mode))).eval()
        together = method(batch.images)
        maps = method.cam(together, torch.tensor([3, 1, 6, 0]))
        for row, label in enumerate([3, 1, 6, 0]):
            alone = method(batch.images[row : row + 1])
            torch.testing.assert_close(together.logits[row : row + 1], alone.logits, rtol=1e-5, atol=1e-5)
            cam = method.cam(alone, torch.tensor([label]))
            if maps is None:
                assert cam is None
            else:
                peak = cam.abs().max().item()
                torch.testing.assert_close(maps[row : row + 1], cam, rtol=0, atol=1e-5 * peak)
        assert maps is None or maps.any()

    def test_maps_tell_classes_apart_and_are_not_flat(self, name, mode, run, batch):
        torch.manual_seed(0)
        method = noisy(build_method(run(name, mode))).eval()
        output = method(batch.images)
        first, second = (method.cam(output, torch.full((4,), label)) for label in (1, 5))
        if first is not None:
            assert first.shape[0] == 4
            assert not first.requires_grad
            assert (first.std((1, 2)) > 0).any()
            assert torch.equal(first, second) == (name == "apvit")  # its map knows no class

    def test_training_and_evaluation_agree_on_layers(self, name, mode, run, batch):
        card = run(name, mode)
        method = build_method(card)
        for training in (True, False):
            features = method.train(training)(batch.images, batch.target).features
            assert {layer: part.shape[1] for layer, part in features.items()} == method.backbone.channels
            assert all(attention(part).shape[1:] == part.shape[2:] for part in features.values())

    def test_bf16_is_finite(self, name, mode, run, batch):
        card = run(name, mode)
        method = build_method(card)
        with torch.autocast("cpu", torch.bfloat16):
            output = method(batch.images, batch.target)
            value = method.classification_loss(output, batch.target)
        (value + au_loss(output.features, batch.heatmaps, batch.valid, layers=card.guidance.layers)).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in method.parameters())

    def test_head_is_a_part_without_repeats(self, name, mode, run):
        method = build_method(run(name, mode))
        head = [id(parameter) for parameter in method.head_parameters()]
        assert len(head) == len(set(head))
        assert set(head) <= {id(parameter) for parameter in method.parameters()}

    def test_checkpoint_round_trip(self, name, mode, run, batch, tmp_path):
        card = run(name, mode)
        torch.manual_seed(0)
        method = noisy(build_method(card)).eval()
        prepared = Prepared(card.data.folder, card.heatmap)
        checkpoint.save(tmp_path / "a.safetensors", method.state_dict(), card, prepared, {})
        loaded = checkpoint.load(tmp_path / "a.safetensors")
        assert loaded.card == card
        assert not loaded.method.training
        output, expected = loaded.method(batch.images), method(batch.images)
        assert torch.equal(output.logits, expected.logits)
        cam, other = (one.cam(out, torch.arange(4)) for one, out in ((loaded.method, output), (method, expected)))
        assert (cam is None) == (other is None)
        assert cam is None or torch.equal(cam, other)


@pytest.mark.parametrize("name", ["acol", "cam", "prm", "wildcat"])
def test_head_starts_xavier_uniform_with_zero_bias(name, run):
    torch.manual_seed(0)
    method = build_method(run(name, "original"))
    body = {id(part) for part in method.backbone.modules()}
    heads = [part for part in method.modules() if isinstance(part, nn.Linear | nn.Conv2d) and id(part) not in body]
    assert heads
    for head in heads:
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(head.weight)
        limit = (6 / (fan_in + fan_out)) ** 0.5
        assert 0.95 * limit < head.weight.abs().max() <= limit
        assert not head.bias.any()


@pytest.mark.parametrize("name", FAMILY)
def test_can_be_compiled(name, run, batch):
    torch.manual_seed(0)
    method = build_method(run(name, "original")).eval()
    torch._dynamo.reset()
    compiled = torch.compile(method, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(batch.images).logits, method(batch.images).logits)
