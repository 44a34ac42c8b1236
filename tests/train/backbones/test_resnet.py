"""The ResNets against torchvision's blocks, with and without pooling."""

import torch
import torchvision

from train.backbones import resnet
from train.backbones.base import build_backbone


def test_resnet_equals_torchvision_with_two_strides_taken_out():
    torch.manual_seed(0)
    reference = torchvision.models.resnet18()
    for stage in (reference.layer3, reference.layer4):
        stage[0].conv1.stride = stage[0].downsample[0].stride = (1, 1)
    ours = resnet.ResNet(resnet.DESIGNS["resnet18"])
    ours.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
    ours.eval(), reference.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = ours(images)
        expected = {1: reference.relu(reference.bn1(reference.conv1(images)))}
        expected[2] = reference.layer1(reference.maxpool(expected[1]))
        for layer in (3, 4, 5):
            expected[layer] = getattr(reference, f"layer{layer - 1}")(expected[layer - 1])
    for layer, value in expected.items():
        torch.testing.assert_close(features[layer], value)


def test_unpooled_resnet_begins_with_a_3x3_convolution_and_no_pooling():
    network = build_backbone("resnet18_quarter_unpooled", init="none").eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        first = network.bn1(torch.nn.functional.conv2d(images, network.conv1.weight, stride=2, padding=1)).relu()
        torch.testing.assert_close(network(images)[2], network.layer1(first))
    assert network.conv1.weight.shape == (16, 3, 3, 3)
