"""Heads and class maps: each formula by hand, Grad-CAM and LayerCAM against a second library."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from pipeline.errors import UserError
from tests.support.given_features import GivenFeatures
from train.backbones.base import build_backbone
from train.methods import gradcam, gradcampp, layercam
from train.methods.acol import Acol
from train.methods.adl import Adl
from train.methods.base import Output
from train.methods.cam import Cam
from train.methods.gradcam import GradCam
from train.methods.gradcampp import GradCamPlusPlus
from train.methods.layercam import LayerCam
from train.methods.wildcat import Wildcat, count


@pytest.fixture
def curved():
    """Features (2, 2, 2, 3) and logits (2, 3) that are no linear function of them, so that gradients vary in space."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 2, 2, 3, generator=generator).requires_grad_()
    weights = torch.randn(3, 2, 2, 3, generator=generator)
    logits = torch.einsum("kchw,bchw->bk", weights, features**2)
    slope = 2 * weights[[2, 0]] * features.detach()  # of the classes 2 and 0
    return Output(logits, {5: features}), torch.tensor([2, 0]), slope, features.detach()


def test_gradcam_by_hand(curved):
    output, classes, slope, features = curved
    cam = GradCam(GivenFeatures(), 3).cam(output, classes)
    expected = torch.zeros(2, 2, 3)
    for image in range(2):
        for channel in range(2):
            expected[image] += slope[image, channel].sum() / 6 * features[image, channel]
    assert (expected < 0).any()
    assert (expected > 0).any()
    torch.testing.assert_close(cam, expected.clamp(min=0))


def test_layercam_by_hand(curved):
    output, classes, slope, features = curved
    cam = LayerCam(GivenFeatures(), 3).cam(output, classes)
    torch.testing.assert_close(
        cam, (slope[:, 0].clamp(min=0) * features[:, 0]) + slope[:, 1].clamp(min=0) * features[:, 1]
    )


def test_published_gradcampp_by_hand(curved):
    output, classes, slope, features = curved
    cam = GradCamPlusPlus(GivenFeatures(), 3, mode="published").cam(output, classes)
    weights = [[(slope[b, k][slope[b, k] > 0] ** 3).sum() for k in range(2)] for b in range(2)]
    expected = torch.stack([sum(weights[b][k] * features[b, k] for k in range(2)) for b in range(2)])
    torch.testing.assert_close(cam, expected)


def test_gradcampp_is_equation_19_with_true_derivatives():
    """Y = exp(y_t): alpha = Y'' / (2 Y'' + sum A * Y'''), pixel by pixel, the derivatives by autograd."""
    torch.manual_seed(0)
    method = GradCamPlusPlus(GivenFeatures(3), 2).double()
    method.fc.weight.data[1] = torch.tensor([3.0, -0.2, 0.5])
    features = torch.rand(1, 3, 2, 3, dtype=torch.float64).requires_grad_()
    label = 1
    output = method(features)
    score = output.logits[0, label].exp()
    (first,) = torch.autograd.grad(score, features, create_graph=True)
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for k in range(3):
        weight = 0
        for i in range(2):
            for j in range(3):
                (two,) = torch.autograd.grad(first[0, k, i, j], features, create_graph=True)
                (three,) = torch.autograd.grad(two[0, k, i, j], features, retain_graph=True)
                second, third = two[0, k, i, j], three[0, k, i, j]
                alpha = second / (2 * second + features[0, k].sum() * third)
                weight += alpha * first[0, k, i, j].clamp(min=0)
        expected += (weight * features[0, k]).detach()
    found = method.cam(output, torch.tensor([label]))[0]
    assert (expected > 0).all()
    torch.testing.assert_close(found * score.item(), expected.float())


def test_on_the_network_of_cam_the_gradient_is_the_weight():
    """With pooling and a linear layer, all four maps follow from the weights W, S positions."""
    torch.manual_seed(1)
    cam, grad, plus, layer = (
        Cam(GivenFeatures(4), 3),
        *(kind(GivenFeatures(4), 3) for kind in (GradCam, GradCamPlusPlus, LayerCam)),
    )
    for method in (grad, plus, layer):
        method.load_state_dict(cam.state_dict())
    features, classes = torch.rand(2, 4, 5, 5).requires_grad_(), torch.tensor([0, 2])
    maps = [method.cam(method(features), classes) for method in (cam, grad, plus, layer)]
    weight, positions = cam.fc.weight.detach()[classes][..., None, None], 25
    torch.testing.assert_close(maps[1], maps[0].relu() / positions)
    slope, total = weight / positions, features.detach().sum((2, 3), keepdim=True)
    alphas = positions * slope.relu() / (2 + slope * total)
    torch.testing.assert_close(maps[2], (alphas * features.detach()).sum(1).relu())
    torch.testing.assert_close(maps[3], (weight.relu() * features.detach()).sum(1) / positions)


@pytest.mark.parametrize(("kind", "package"), [(GradCam, GradCAM), (LayerCam, LayerCAM)])
def test_package_grad_cam_agrees(kind, package):
    """It finds features and gradients with hooks on the last stage."""
    torch.manual_seed(0)
    method = kind(build_backbone("resnet18_half", init="none"), 7).eval()
    images, classes = torch.randn(3, 3, 64, 64), torch.tensor([6, 2, 4])
    found = method.cam(method(images), classes)

    class Logits(nn.Module):
        def forward(self, images):
            return method(images).logits

    logits = Logits()
    logits.method = method
    targets = [ClassifierOutputTarget(label) for label in classes.tolist()]
    last = method.backbone.layer4
    with package(model=logits, target_layers=[last]) as other:
        other(input_tensor=images, targets=targets)
        (values,), (slopes,) = other.activations_and_grads.activations, other.activations_and_grads.gradients
        expected = other.get_cam_image(images, last, targets, values.numpy(), slopes.numpy(), eigen_smooth=False)
    expected = torch.from_numpy(np.maximum(expected, 0))
    assert (expected.amax((1, 2)) > 0).sum() >= 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * expected.max().item())


@pytest.mark.parametrize("kind", [GradCam, GradCamPlusPlus, LayerCam])
def test_a_gradient_map_asks_for_a_graph_and_keeps_it(kind):
    method = kind(GivenFeatures(), 3)
    features = torch.rand(1, 2, 3, 3)
    with torch.no_grad():
        output = method(features)
    with pytest.raises(RuntimeError, match="with gradients enabled"):
        method.cam(output, torch.tensor([0]))
    output = method(features.requires_grad_())
    first = method.cam(output, torch.tensor([0]))
    method.cam(output, torch.tensor([1]))
    assert torch.equal(first, method.cam(output, torch.tensor([0])))
    assert all(parameter.grad is None for parameter in method.parameters())


def test_three_methods_share_the_training_of_cam():
    assert {module.TRAINED_AS for module in (gradcam, gradcampp, layercam)} == {"cam"}
    for kind in (GradCam, GradCamPlusPlus, LayerCam):
        assert not {"forward", "augment", "classification_loss", "head_parameters", "initialise"} & set(vars(kind))


def hand_wildcat(**options):
    """Two classes of two modalities each on two channels; class 0 is their difference halved, class 1 channel 0."""
    method = Wildcat(GivenFeatures(), 2, maps=2, **options)
    with torch.no_grad():
        method.modalities.weight.copy_(torch.tensor([[1.0, 0], [0, -1], [1, 1], [1, -1]])[..., None, None])
        method.modalities.bias.copy_(torch.tensor([0.0, 2, 0, 0]))
    return method


def test_wildcat_by_hand():
    images = torch.stack([torch.arange(10.0), torch.zeros(10)]).view(1, 2, 2, 5)
    options = {"kmax": 0.2, "kmin": 0.3, "alpha": 0.7}
    method = hand_wildcat(**options)
    output = method(images)
    torch.testing.assert_close(method.cam(output, torch.tensor([0])), torch.arange(10.0).view(1, 2, 5) / 2 + 1)
    top, bottom = torch.tensor([[5.25, 8.5]]), torch.tensor([[1.5, 1.0]])  # means of the 2 largest, the 3 smallest
    torch.testing.assert_close(output.logits, (top + 0.7 * bottom) / 2)
    torch.testing.assert_close(hand_wildcat(mode="published", **options)(images).logits, top)
    torch.testing.assert_close(hand_wildcat(kmax=0.2, kmin=0)(images).logits, top)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0.5, 392),
        (0.1, 78),
        (0.001, 1),
        (1.0, 784),
        (1, 1),
        (20, 20),
        (900, 784),
        (0, 0),
        (-0.5, 0),
        (2.7, 2),
        (0.0, 0),
    ],
)
def test_wildcat_counts_pixels_as_its_code_does(k, expected):
    assert count(k, 784) == expected
    assert count(0.125, 20) == 2  # 2.5 rounds to even


def hand_acol(**options):
    """Tower A copies two channels to two classes; tower B's class 0 is twice channel 0, its class 1 minus channel 1."""
    method = Acol(GivenFeatures(), 2, width=4, **options)
    method.tower_a, method.tower_b = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)
    with torch.no_grad():
        method.tower_a.weight.copy_(torch.eye(2)[..., None, None])
        method.tower_b.weight.copy_(torch.tensor([[2.0, 0], [0, -1]])[..., None, None])
    return method


def test_acol_by_hand():
    images = torch.tensor([[[[0.0, 1.0, 2.0, 4.0, 3.0]], [[5.0, 5.0, 1.0, 1.0, 3.0]]]])
    method = hand_acol(threshold=0.5)
    output = method(images, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(output.logits, torch.tensor([[2.0, 3.0]]))
    # channel 0 stretched is 0, 1/4, 1/2, 1, 3/4: the first two stay, what reaches 1/2 goes
    torch.testing.assert_close(output.extra_logits[0], torch.tensor([[2 * (0 + 1.0) / 5, -(5 + 5.0) / 5]]))
    cam = method.cam(method(images), torch.tensor([0]))
    torch.testing.assert_close(cam, torch.tensor([[[0.0, 1.0, 0.5, 1.0, 0.75]]]))  # B: 0, 2, 0, 0, 0 stretched
    cam = method.cam(method(images), torch.tensor([1]))  # A: 1, 1, 0, 0, 1/2; B sees places 2 and 3: 0, 0, -1, -1, 0
    torch.testing.assert_close(cam, torch.tensor([[[1.0, 1.0, 0.0, 0.0, 1.0]]]))


def test_acol_without_a_second_map_is_zero():
    images = torch.tensor([[[[0.0, 1.0]], [[5.0, 5.0]]]])  # class 0: only the first place stays, where channel 0 is 0
    assert not hand_acol().cam(hand_acol()(images), torch.tensor([0])).any()


def test_acol_erases_without_gradient_and_adds_both_losses():
    torch.manual_seed(0)
    method = Acol(GivenFeatures(3), 4, width=5)
    images, target = torch.randn(2, 3, 6, 6), torch.eye(4)[[1, 3]]
    output = method(images, target)
    sum(output.extra_logits).sum().backward()
    assert all(parameter.grad is None for parameter in method.tower_a.parameters())
    assert all(parameter.grad.any() for parameter in method.tower_b.parameters())
    losses = [-torch.log_softmax(one, 1)[[0, 1], [1, 3]].mean() for one in (output.logits, *output.extra_logits)]
    torch.testing.assert_close(method.classification_loss(output, target), losses[0] + losses[1])
    assert method(images).extra_logits == ()
    assert (method.threshold, Acol(GivenFeatures(), 2, mode="published").threshold) == (0.6, 0.1)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: GradCamPlusPlus(GivenFeatures(), 3, mode="publishd"),
            "model.options.mode: .* 'publishd' .*'published'",
        ),
        (lambda: Wildcat(GivenFeatures(), 3, mode="new"), "model.options.mode"),
        (lambda: Acol(GivenFeatures(), 3, mode=True), "model.options.mode"),
        (lambda: Adl(GivenFeatures(), 3), "model.backbone: the method adl"),
    ],
)
def test_wrong_options_are_one_line(build, said):
    with pytest.raises(UserError, match=said) as caught:
        build()
    assert "\n" not in str(caught.value)
