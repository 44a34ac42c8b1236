"""ADL: its gates by hand, where they are, and the two slips of the published code."""

import pytest
import torch
from torchvision.models.resnet import Bottleneck

from train.backbones import resnet
from train.card.schema import Model
from train.methods.adl import RESNETS, Adl
from train.methods.cam import Cam


@pytest.fixture
def small_resnet():
    """A ResNet of bottlenecks with four blocks in stage 3 and three in stage 4."""
    torch.manual_seed(0)
    return resnet.ResNet(resnet.Design(Bottleneck, (1, 1, 4, 3), 4))


def test_adl_gate_by_hand(small_resnet):
    features = torch.tensor([[[[1.0, 3.0, 10.0]], [[3.0, 5.0, 10.0]]], [[[1.0, 1.0, 1.0]], [[1.0, 0.6, 1.0]]]])
    dropped = Adl(small_resnet, 7, drop_rate=1.0, threshold=0.4).gate(features)  # channel means 2, 4, 10; 1, 0.8, 1
    torch.testing.assert_close(dropped, torch.tensor([[[[1.0, 0, 0]], [[3.0, 0, 0]]], [[[0.0, 0, 0]], [[0, 0, 0]]]]))
    stressed = Adl(small_resnet, 7, drop_rate=0.0).gate(features)
    importance = 1 / (1 + torch.exp(-torch.tensor([[2.0, 4, 10], [1, 0.8, 1]])))
    torch.testing.assert_close(stressed, features * importance[:, None, None])


def test_adl_draws_once_per_gate_at_three_places(small_resnet, monkeypatch):
    method, seen = Adl(small_resnet, 7), []
    real = method.gate
    monkeypatch.setattr(method, "gate", lambda value: seen.append(value) or real(value))
    images = torch.rand(2, 3, 32, 32)
    torch.manual_seed(3)
    features = method(images).features
    state = torch.get_rng_state()
    torch.manual_seed(3)
    torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert [tuple(value.shape[:2]) for value in seen] == [(2, 64), (2, 128), (2, 128)]
    torch.manual_seed(3)
    third = [torch.rand(()) for _ in range(3)][2]
    attention = seen[2].mean(1, keepdim=True)
    mask = (attention < 0.9 * attention.amax((2, 3), keepdim=True)) if third < 0.75 else attention.sigmoid()
    torch.testing.assert_close(features[5], seen[2] * mask)
    seen.clear()
    method.eval()(images)
    assert not seen


def test_hooks_on_stages_see_the_layers_with_their_gates(small_resnet):
    method, seen = Adl(small_resnet, 7, drop_rate=1.0), []
    for stage in (small_resnet.layer1, small_resnet.layer2, small_resnet.layer3, small_resnet.layer4):
        stage.register_forward_hook(lambda _module, _given, value: seen.append(value))
    features = method(torch.rand(2, 3, 32, 32)).features
    assert len(seen) == 4
    assert all(value is features[layer] for layer, value in enumerate(seen, start=2))
    assert (features[5] == 0).flatten(2).all(1).any()  # the last gate hides places in all channels


def test_adl_in_evaluation_is_cam_and_published_reads_the_second_block(small_resnet):
    images, classes = torch.rand(2, 3, 32, 32), torch.tensor([4, 1])
    method = Adl(small_resnet, 7).eval()
    cam = Cam(small_resnet, 7).eval()
    cam.load_state_dict(method.state_dict())
    output, plain = method(images), cam(images)
    assert torch.equal(output.logits, plain.logits)
    assert torch.equal(method.cam(output, classes), cam.cam(plain, classes))
    published = Adl(small_resnet, 7, mode="published").eval()
    published.load_state_dict(method.state_dict())
    output = published(images)
    assert torch.equal(output.logits, plain.logits)
    second = small_resnet.layer4[:2](output.features[4])
    expected = torch.einsum("bk,bkhw->bhw", cam.fc.weight[classes], second)
    torch.testing.assert_close(published.cam(output, classes), expected.detach())


def test_published_adl_starts_with_shifted_blocks(small_resnet):
    before = {name: value.clone() for name, value in small_resnet.state_dict().items()}
    Adl(small_resnet, 7).initialise(Model())
    Adl(small_resnet, 7, mode="published").initialise(Model(init="none"))
    assert all(torch.equal(value, before[name]) for name, value in small_resnet.state_dict().items())
    small_resnet.layer4[2].bn1.weight.data.fill_(3.0)
    before["layer4.2.bn1.weight"].fill_(3.0)
    Adl(small_resnet, 7, mode="published").initialise(Model())
    after = small_resnet.state_dict()
    moved = {"layer3.1.": "layer3.2.", "layer3.2.": "layer3.3.", "layer4.1.": "layer4.2."}
    for name, value in after.items():
        source = next((name.replace(new, old) for new, old in moved.items() if name.startswith(new)), name)
        if not name.startswith(("layer3.3.", "layer4.2.")):
            assert torch.equal(value, before[source]), name
    for block in ("layer3.3", "layer4.2"):
        weight = after[f"{block}.conv2.weight"]
        assert all(not torch.equal(weight, old) for old in before.values())
        assert weight.std().item() == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.15)
        assert (after[f"{block}.bn1.weight"] == 1).all()


def test_published_adl_loses_the_weights_that_the_published_code_loses():
    with torch.device("meta"):
        network = resnet.build_network("resnet50", None)
    lost = [*network.layer3[-1].parameters(), *network.layer4[-1].parameters()]
    assert sum(value.numel() for value in lost) == 5_579_776  # the published count


def test_it_runs_on_every_resnet():
    assert set(RESNETS) == set(resnet.DESIGNS)
