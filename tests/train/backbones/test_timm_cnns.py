"""CNNs of timm: the size and sign of each layer, output strides, torchvision's files, tools that hook modules."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from pydantic import ValidationError
from pytorch_grad_cam import GradCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn.functional import relu

from pipeline.errors import UserError
from train.backbones.base import build_backbone, layer_sides
from train.card.checks import check_model
from train.methods.base import build_method, coarse_maps
from train.methods.gradcam import GradCam
from train.methods.layercam import LayerCam
from train.weights.translate import renamed

SILU, HARDSWISH = -0.2785, -0.3751  # the smallest values of these activations
FIVE = {1: 48, 2: 24, 3: 12, 4: 6, 5: 3}
FAMILIES = {  # name: sides of the layers at 96 px, channels of layer 5, its smallest possible value
    "resnet10t": (FIVE, 512, 0),
    "regnetx_002": (FIVE, 368, 0),
    "densenet121": (FIVE, 1024, 0),
    "tf_efficientnet_lite0": (FIVE, 1280, 0),
    "efficientnet_b0": (FIVE, 1280, SILU),
    "mobilenetv2_050": (FIVE, 1280, 0),
    "mobilenetv3_small_050": (FIVE, 288, HARDSWISH),
    "convnext_atto": ({2: 24, 3: 12, 4: 6, 5: 3}, 320, 0),
    "vgg11": ({1: 96, 2: 48, 3: 24, 4: 12, 5: 6}, 512, 0),
    "resnest14d": (FIVE, 2048, 0),
}


def random_statistics(network):
    """Give batch normalisation other statistics than 0 and 1, so that a mix-up shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_layer_5_is_the_last_activation(name):
    sides, channels, smallest = FAMILIES[name]
    torch.manual_seed(0)
    network = build_backbone(f"timm/{name}", init="none", image_size=96)
    features = network(torch.randn(2, 3, 96, 96))  # with batch statistics, which make weights of all sizes alike
    assert {layer: value.shape[-1] for layer, value in features.items()} == sides == layer_sides(network, 96)
    assert {layer: value.shape[1] for layer, value in features.items()} == network.channels
    assert network.channels[5] == channels
    assert features[5].amin() >= smallest
    assert 0.1 < (features[5] > 0).float().mean() < 0.9


@pytest.mark.parametrize("name", ["mobilenetv2_050", "efficientnet_b0", "tf_efficientnet_lite0"])
def test_the_convolution_of_the_head_is_kept_with_its_weights(name):
    torch.manual_seed(0)
    reference = random_statistics(timm.create_model(name))
    ours = build_backbone(f"timm/{name}", init="none", image_size=64).eval()
    ours.network.load_state_dict(reference.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[5], reference.forward_features(images))
    assert "network.conv_head.weight" in ours.state_dict()
    assert not any("classifier" in key for key in ours.state_dict())


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_every_parameter(name):
    network = build_backbone(f"timm/{name}", init="none", image_size=64)
    network(torch.randn(2, 3, 64, 64))[5].square().mean().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


STRIDED = ["resnet10t", "regnetx_002", "mobilenetv2_050", "convnext_atto", "resnest14d"]


@pytest.mark.parametrize(("stride", "side"), [(8, 12), (16, 6)])
@pytest.mark.parametrize("name", STRIDED)
def test_an_output_stride_gives_larger_maps_with_the_same_tensors(name, stride, side):
    plain = build_backbone(f"timm/{name}", init="none", image_size=96)
    network = build_backbone(f"timm/{name}", init="none", image_size=96, output_stride=stride)
    assert layer_sides(network, 96)[5] == side
    assert {key: value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in plain.state_dict().items()
    }


def test_an_output_stride_that_a_network_cannot_have_is_refused(make_card):
    with pytest.raises(UserError, match=r"model\.output_stride: timm cannot build densenet121 with 8"):
        build_backbone("timm/densenet121", init="none", output_stride=8)
    with pytest.raises(UserError, match=r"model\.output_stride: resnet18_quarter has its own strides"):
        check_model(make_card(model__output_stride=16))
    with pytest.raises(ValidationError, match="output_stride"):
        make_card(model__backbone="timm/resnet10t", model__output_stride=12)


def test_the_stride_of_a_card_reaches_the_network_and_no_stride_changes_no_card(make_card):
    card = make_card(model__backbone="timm/resnet10t", model__output_stride=16)
    assert layer_sides(build_method(card).backbone, 96)[5] == 6
    assert '"output_stride": 16' in card.line()
    assert "output_stride" not in make_card().line()


def test_a_coarse_layer_5_is_one_line_of_warning(make_card):
    card = make_card(model__backbone="timm/resnet10t", model__image_size=96)
    said = coarse_maps(build_method(card), card.model)
    assert said.startswith("warning: layer 5 of timm/resnet10t is 3x3 at 96 px, too coarse for AU maps; ")
    assert "model.output_stride" in said
    fine = make_card(model__backbone="timm/resnet10t", model__image_size=96, model__output_stride=8)
    assert coarse_maps(build_method(fine), fine.model) is None
    small = make_card(model__backbone="resnet50_small_maps", model__image_size=96)
    assert coarse_maps(build_method(small), small.model).endswith("give a larger model.image_size")


TWINS = {  # torchvision's name: timm's, and what gives layer 5 in torchvision
    "mobilenet_v2": ("mobilenetv2_100", lambda net, x: net.features(x)),
    "efficientnet_b0": ("efficientnet_b0", lambda net, x: net.features(x)),
    "mobilenet_v3_small": ("mobilenetv3_small_100", lambda net, x: net.features(x)),
    "regnet_y_400mf": ("regnety_004", lambda net, x: net.trunk_output(net.stem(x))),
    "densenet121": ("densenet121", lambda net, x: relu(net.features(x))),
    "vgg11": ("vgg11", lambda net, x: net.features[:-1](x)),
    "convnext_tiny": ("convnext_tiny", lambda net, x: relu(net.features(x))),
    "resnet18": ("resnet18", lambda net, x: nn.Sequential(*list(net.children())[:-2])(x)),
}


@pytest.mark.parametrize("theirs", TWINS)
def test_files_of_torchvision_load_into_the_same_network_of_timm(theirs, tmp_path):
    name, last = TWINS[theirs]
    torch.manual_seed(0)
    reference = random_statistics(getattr(torchvision.models, theirs)())
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5  # 0.001 in torchvision's MobileNetV3
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    ours = build_backbone(f"timm/{name}", init=str(tmp_path / "weights.pth"), image_size=64).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[5], last(reference, images), rtol=1e-4, atol=1e-5)


def test_files_of_another_network_are_not_renamed(tmp_path):
    tensors = torchvision.models.mobilenet_v2().state_dict()
    wanted = timm.create_model("mobilenetv2_100").state_dict()
    fitting = renamed(tensors, wanted)
    assert list(fitting) == [name for name in wanted if not name.endswith("num_batches_tracked")]
    assert torch.equal(fitting["blocks.0.0.conv_dw.weight"], tensors["features.1.conv.0.0.weight"])
    items = list(tensors.items())
    items[1], items[2] = items[2], items[1]  # a bias where a weight belongs, of the same shape
    swapped = dict(items)
    assert renamed(swapped, wanted) is swapped
    torch.save(tensors, tmp_path / "mobilenet_v2.pth")
    with pytest.raises(
        UserError, match=r"mobilenet_v2\.pth fits another network: the tensor conv_stem\.weight is miss"
    ):
        build_backbone("timm/mobilenetv2_050", init=str(tmp_path / "mobilenet_v2.pth"), image_size=64)


@pytest.mark.parametrize(("kind", "package"), [(GradCam, GradCAM), (LayerCam, LayerCAM)])
def test_grad_cam_finds_layer_5_behind_the_head(kind, package):
    torch.manual_seed(0)
    method = kind(build_backbone("timm/mobilenetv2_050", init="none", image_size=96), 7)
    random_statistics(method)
    images, classes = torch.randn(3, 3, 96, 96), torch.tensor([6, 2, 4])
    found = method.cam(method(images), classes)

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.method = method

        def forward(self, images):
            return self.method(images).logits

    targets = [ClassifierOutputTarget(label) for label in classes.tolist()]
    last = method.backbone.network.bn2
    with package(model=Logits(), target_layers=[last]) as other:
        other(input_tensor=images, targets=targets)
        (values,), (slopes,) = other.activations_and_grads.activations, other.activations_and_grads.gradients
        expected = other.get_cam_image(images, last, targets, values.numpy(), slopes.numpy(), eigen_smooth=False)
    expected = torch.from_numpy(np.maximum(expected, 0))
    assert (expected.amax((1, 2)) > 0).any()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * expected.max().item())
