"""PRM: peaks, their mean as a score, and the random walk from a peak to the image, by hand."""

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from tests.support.given_features import GivenFeatures
from train.backbones.base import build_backbone
from train.methods._peaks import RandomWalk, find_peaks, propagate
from train.methods.prm import Prm


def test_peaks_by_hand():
    maps = torch.tensor(
        [
            [9.0, 1, 1, 0, 2],
            [1, 1, 1, 0, 0],
            [0, 0, 5, 5, 0],
            [-9, -9, 0, 0, 0],
            [-8, -9, 0, 0, 3],
        ]
    )
    expected = torch.zeros(5, 5, dtype=torch.bool)
    # A corner, the first of two equal neighbours, two corners; -8 is above its neighbours but below the median.
    for row, column in ((0, 0), (2, 2), (0, 4), (4, 4)):
        expected[row, column] = True
    assert torch.equal(find_peaks(maps.view(1, 1, 5, 5), 3)[0, 0], expected)
    assert find_peaks(maps.view(1, 1, 5, 5), 5)[0, 0].nonzero().tolist() == [[0, 0]]


def identity_prm(**options):
    method = Prm(GivenFeatures(), 2, **options)
    with torch.no_grad():
        method.conv.weight.copy_(torch.eye(2)[..., None, None])
    return method


def test_scores_by_hand():
    images = torch.tensor([[[[1.0, 0, 0, 4], [0, 0, 0, 0], [0, 2, 0, 0]], [[3.0] * 4, [3, 3, 3, 3], [3, 3, 3, 6]]]])
    images.requires_grad_()
    output = identity_prm()(images)
    # Channel 0 peaks at 1, 4 and 2; channel 1 at 6 and, among equals, at its first pixel.
    torch.testing.assert_close(output.logits, torch.tensor([[(1 + 4 + 2) / 3, (6 + 3) / 2]]))
    (slope,) = torch.autograd.grad(output.logits[0, 0], images)
    assert slope[0, 0].nonzero().tolist() == [[0, 0], [0, 3], [2, 1]]
    torch.testing.assert_close(slope[0, 0].sum(), torch.tensor(1.0))
    published = identity_prm(mode="published")(images)
    torch.testing.assert_close(published.logits, torch.tensor([[(2 + 4) / 2, (3 + 6) / 2]]))  # two windows of 3x3 fit
    assert torch.equal(identity_prm(mode="published").cam(published, torch.tensor([1])), images[:, 1])


def matrix(layer, size):
    """A convolution as a matrix (outputs, inputs), found from the answers to single ones."""
    inputs = layer.in_channels * size * size
    ones = torch.eye(inputs, dtype=torch.float64).view(inputs, layer.in_channels, size, size)
    with torch.no_grad():
        zero = layer(torch.zeros_like(ones[:1]))
        return (layer(ones) - zero).flatten(1).T


def walk(values, weights, arriving):
    """P(U) = sum over V of P(V) Z_V U ReLU(w_UV), in plain loops over the units above."""
    counted = values - values.min()
    below = torch.zeros_like(counted)
    for unit, probability in enumerate(arriving):
        flow = counted * weights[unit].clamp(min=0)
        if flow.sum() > 0:
            below += probability * flow / flow.sum()
    return below


def test_random_walk_through_two_layers_by_hand():
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, stride=2, padding=1).double(), nn.Conv2d(3, 2, 1).double()
    network = nn.Sequential(first, nn.ReLU(), second)
    images = torch.randn(2, 2, 6, 6, dtype=torch.float64) * torch.tensor([1.0, 30.0])[:, None, None, None]
    relevance = torch.rand(2, 2, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        hidden = first(images).relu()
    expected = []
    for image, middle, sent in zip(images, hidden, relevance, strict=True):
        arrived = walk(middle.flatten(), matrix(second, 3), sent.flatten())
        expected.append(walk(image.flatten(), matrix(first, 6), arrived).view(2, 6, 6).sum(0))
    found = propagate(network, images, relevance)
    torch.testing.assert_close(found, torch.stack(expected))


def test_rules_between_the_convolutions_by_hand():
    """A sum shares by positive terms, a scale passes on, pooling goes to the largest or shares by value."""
    values = torch.tensor([[[[1.0, 4.0, -2.0, 0.0]]]])
    sent = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    normalise = nn.BatchNorm2d(1).eval()
    normalise.weight.data.fill_(-7.0)

    def back(network, relevance=sent):
        return propagate(network, values, relevance)[0, 0].tolist()

    assert back(normalise) == [1, 2, 3, 4]
    assert back(lambda x: nn.functional.relu(x, inplace=True)) == [1, 2, 3, 4]
    assert back(lambda x: 0.1 * x * torch.tensor([[[[2.0]]]])) == [1, 2, 3, 4]
    constant = torch.tensor([[[[1.0, -4.0, -2.0, 2.0]]]])
    assert back(lambda x: x + constant) == [0.5, 2, 1.5, 0]
    assert back(lambda x: x.add_(x)) == [1, 2, 3, 4]
    pooled = torch.tensor([[[[3.0, 7.0]]]])
    assert back(nn.MaxPool2d((1, 2)), pooled) == [0, 3, 0, 7]
    assert back(nn.AvgPool2d((1, 2)), pooled) == pytest.approx([3 * 3 / 9, 3 * 6 / 9, 0, 7])  # counted from -2


NETWORKS = ["resnet18_half", "timm/resnet10t", "timm/regnety_002", "timm/densenet121", "timm/convnext_atto"]


@pytest.fixture(params=NETWORKS)
def traced(request):
    torch.manual_seed(0)
    method = Prm(build_backbone(request.param, init="none"), 7).eval()
    images = torch.randn(2, 3, 64, 64) * torch.tensor([1.0, 3.0])[:, None, None, None]
    with torch.no_grad():
        yield method, method(images)


def test_every_peak_sends_one_unit_to_its_image(traced):
    method, output = traced
    classes = torch.tensor([2, 5])
    with RandomWalk():
        again = method(output.images)
    torch.testing.assert_close(again.logits, output.logits)  # the values stay
    cam = method.cam(output, classes)
    assert cam.shape == (2, 64, 64)
    assert (cam >= 0).all()
    sent = method.peaks(output.maps)[[0, 1], classes].sum((1, 2)).float()
    lost = 0.05 if "ConvNeXt" in str(method) else 1e-3  # in units that only negative connections feed
    torch.testing.assert_close(cam.sum((1, 2)), sent, rtol=lost, atol=0)


def test_the_map_is_the_sum_of_its_peaks_alone(traced):
    method, output = traced
    cam = method.cam(output, torch.tensor([2, 5]))[1]
    total = torch.zeros(64, 64)
    alone = method(output.images[1:])
    for row, column in method.peaks(output.maps)[1, 5].nonzero():
        relevance = torch.zeros_like(alone.maps)
        relevance[0, 5, row, column] = 1
        total += method.peak_response_maps(alone, relevance)[0]
    torch.testing.assert_close(total, cam, rtol=1e-3, atol=1e-5 * cam.max().item())


def test_a_map_needs_no_gradients_outside():
    method = Prm(build_backbone("resnet18_half", init="none"), 7).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        inside = method.cam(method(images), torch.tensor([1]))
    outside = method.cam(method(images), torch.tensor([1]))
    assert not outside.requires_grad
    assert torch.equal(inside, outside)
    assert all(parameter.grad is None for parameter in method.parameters())


def test_what_cannot_be_traced_is_refused():
    network = GivenFeatures()
    network.attends = True
    with pytest.raises(UserError, match=r"model\.options\.mode: .* transformer"):
        Prm(network, 2)
    Prm(network, 2, mode="published")


ATTENDING = ["cait_xxs24_224", "xcit_nano_12_p8_224", "edgenext_xx_small", "efficientvit_b0", "twins_svt_small"]


@pytest.mark.parametrize(
    "name", [*ATTENDING, "coat_lite_tiny", "botnet26t_256", "sequencer2d_s", "vit_tiny_patch16_224"]
)
def test_networks_whose_places_look_at_each_other_are_told_by_what_they_compute(name):
    network = build_backbone(f"timm/{name}", init="none", image_size=64)
    with pytest.raises(UserError, match=r"model\.options\.mode: .* a transformer has mode published"):
        Prm(network, 2)


@pytest.mark.parametrize("name", ["mixer_s32_224", "tresnet_m"])
def test_a_map_does_not_depend_on_batch_neighbours(name):
    torch.manual_seed(0)
    method = Prm(build_backbone(f"timm/{name}", init="none", image_size=64), 7).eval()
    images = torch.randn(3, 3, 64, 64) * torch.tensor([1.0, 3.0, 0.5])[:, None, None, None]
    with torch.no_grad():
        together = method.cam(method(images), [2, 5, 1])
        for number, label in enumerate([2, 5, 1]):
            alone = method.cam(method(images[number : number + 1]), [label])[0]
            torch.testing.assert_close(together[number], alone, rtol=0, atol=1e-5 * alone.max().item())


def test_a_window_larger_than_the_map_is_refused():
    with pytest.raises(UserError, match=r"model\.options\.window: 5 px do not fit into layer 5, which has 3"):
        Prm(GivenFeatures(), 2, mode="published", window=5)(torch.zeros(1, 2, 4, 3))
