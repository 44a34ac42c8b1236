"""Networks of timm as backbones: each layer is what the network itself computes there, for every kind of network."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.errors import UserError
from train.backbones.base import build_backbone
from train.backbones.timm import spread
from train.methods.cam import Cam

HIERARCHIES = {  # name -> modules whose outputs are the layers, the last being layer 5
    "resnet10t": ["act1", "layer1", "layer2", "layer3", "layer4"],
    "convnext_atto": ["stages.0", "stages.1", "stages.2", "stages.3"],
    "mobilenetv3_small_050": ["bn1", "blocks.0", "blocks.1", "blocks.3", "blocks.5"],
    "regnetx_002": ["stem", "s1", "s2", "s3", "s4"],
    "densenet121": [
        "features.norm0",
        "features.denseblock1",
        "features.denseblock2",
        "features.denseblock3",
        "features.norm5",
    ],
    "swin_tiny_patch4_window7_224": ["layers.0", "layers.1", "layers.2", "layers.3"],
    "pvt_v2_b0": ["stages.0", "stages.1", "stages.2", "stages.3"],
    "coatnet_pico_rw_224": ["stem", "stages.0", "stages.1", "stages.2", "norm"],
}
PLAIN = ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"]


def outputs(network, modules, images):
    """What the modules of a whole network give for images, and what comes out of its last norm or stage."""
    found = {}
    for name in modules:
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out}))
    last = network.forward_features(images)
    return [found[name] for name in modules], last


def whole(name, size):
    """A whole timm network built for a size and the backbone made of it, with the same weights."""
    torch.manual_seed(0)
    ours = build_backbone(f"timm/{name}", init="none", image_size=size).eval()
    kind = timm.create_model(name)
    reference = timm.create_model(name, img_size=size) if kind.pretrained_cfg.get("fixed_input_size") else kind
    reference.load_state_dict(ours.network.state_dict(), strict=False)
    return reference.eval(), ours


@pytest.mark.parametrize("name", HIERARCHIES)
def test_layers_of_a_hierarchy_are_the_outputs_of_its_stages(name):
    reference, ours = whole(name, 96)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        features, (expected, _) = ours(images), outputs(reference, HIERARCHIES[name], images)
    assert list(features) == list(range(6 - len(expected), 6))
    for (layer, value), stage in zip(features.items(), expected, strict=True):
        channels_first = stage.movedim(-1, 1) if name.startswith("swin") else stage
        if (name, layer) in (("densenet121", 1), ("densenet121", 5), ("convnext_atto", 5)):
            channels_first = channels_first.clamp(min=0)
        torch.testing.assert_close(value, channels_first)
        assert ours.channels[layer] == value.shape[1]


@pytest.mark.parametrize("name", PLAIN)
def test_layers_of_a_plain_transformer_are_five_of_its_blocks(name):
    reference, ours = whole(name, 64)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = ours(images)
        blocks, last = outputs(reference, [f"blocks.{number}" for number in (1, 4, 6, 9)], images)
    prefix = reference.num_prefix_tokens
    assert list(features) == [1, 2, 3, 4, 5]
    for layer, tokens in zip(features, [*blocks, last], strict=True):
        for row in range(4):
            for column in range(4):
                torch.testing.assert_close(features[layer][..., row, column], tokens[:, prefix + 4 * row + column])
    assert ours.channels == dict.fromkeys(range(1, 6), 192)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 6, 12, 24, 31])
def test_blocks_are_spread_evenly_and_end_with_the_last(depth):
    chosen = spread(depth)
    gaps = {after - before for before, after in zip([-1, *chosen], chosen, strict=False)}
    assert chosen[-1] == depth - 1
    assert len(chosen) == min(depth, 5)
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) > 0


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224"])
def test_cam_sits_on_the_last_layer(name):
    torch.manual_seed(0)
    method = Cam(build_backbone(f"timm/{name}", init="none", image_size=64), 3).eval()
    with torch.no_grad():
        output = method(torch.randn(2, 3, 64, 64))
        cam = method.cam(output, torch.tensor([2, 0]))
    last = output.features[5]
    torch.testing.assert_close(output.logits, last.mean((2, 3)) @ method.fc.weight.T + method.fc.bias)
    torch.testing.assert_close(cam[1], (last[1] * method.fc.weight[0, :, None, None]).sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*HIERARCHIES, *PLAIN])
def test_gradients_reach_every_parameter(name):
    network = build_backbone(f"timm/{name}", init="none", image_size=64)
    sum(value.square().mean() for value in network(torch.randn(2, 3, 64, 64)).values()).backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


def test_an_unknown_timm_network_is_refused():
    with pytest.raises(UserError, match=r"timm has no network 'resnet10q'"):
        build_backbone("timm/resnet10q", init="none")


def test_a_size_that_a_network_cannot_have_is_refused():
    with pytest.raises(UserError, match=r"model\.image_size: timm/twins_svt_small cannot be built for 70 px"):
        build_backbone("timm/twins_svt_small", init="none", image_size=70)
    for name in ("timm/vit_tiny_patch16_224", "deit_small"):
        with pytest.raises(UserError, match=rf"70 px are no multiple of the 16-px patches of {name}"):
            build_backbone(name, init="none", image_size=70)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("maxvit_tiny_tf_224", 112, r"must be divisible by window .*; its own size is 224 px"),
        ("coatnet_0_rw_224", 112, r"its own size is 224 px"),
        ("dla34", 112, r"size of tensor a .* must match"),
        ("hrnet_w18_small", 112, r"size of tensor a .* must match"),
        ("halonet26t", 64, r"cannot be built for 64 px; its own size is 256 px"),
    ],
)
def test_a_size_that_a_network_only_fails_on_in_use_is_refused_when_it_is_built(name, size, said):
    with pytest.raises(UserError, match=said) as caught:
        build_backbone(f"timm/{name}", init="none", image_size=size)
    assert str(caught.value).startswith(f"model.image_size: timm/{name} cannot be built for {size} px")
    assert "\n" not in str(caught.value)


def test_the_image_that_tries_a_network_leaves_no_trace():
    """Neither batch statistics nor the generator, which start values are drawn from, move."""
    torch.manual_seed(5)
    reference = timm.create_model("resnet10t")
    drawn = torch.randn(3)
    torch.manual_seed(5)
    ours = build_backbone("timm/resnet10t", init="none", image_size=64)
    assert torch.equal(torch.randn(3), drawn)
    assert all(module.training for module in ours.modules())
    assert torch.equal(ours.network.bn1.running_var, torch.ones_like(ours.network.bn1.running_var))
    assert torch.equal(ours.network.layer4[0].conv1.weight, reference.layer4[0].conv1.weight)


def test_a_network_of_one_stride_without_a_final_norm_gives_its_maps():
    torch.manual_seed(0)
    ours = build_backbone("timm/convmixer_768_32", init="none", image_size=56).eval()
    images = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        expected = ours.network.blocks(ours.network.stem(images))
        torch.testing.assert_close(ours(images)[5], expected)


def test_timm_weights_from_safetensors(tmp_path):
    torch.manual_seed(2)
    reference = timm.create_model("resnet10t")
    (tmp_path / "timm").mkdir()
    save_file(reference.state_dict(), tmp_path / "timm" / "resnet10t.safetensors")
    ours = build_backbone("timm/resnet10t", weights=tmp_path)
    assert torch.equal(ours.network.layer4[0].conv1.weight, reference.layer4[0].conv1.weight)


def test_weights_of_a_transformer_fit_another_image_size(tmp_path):
    torch.manual_seed(3)
    reference = timm.create_model("vit_tiny_patch16_224", img_size=64)
    save_file(reference.state_dict(), tmp_path / "vit.safetensors")
    ours = build_backbone("timm/vit_tiny_patch16_224", init=str(tmp_path / "vit.safetensors"), image_size=96).network
    expected = timm.layers.resample_abs_pos_embed(reference.pos_embed, [6, 6], num_prefix_tokens=1)
    torch.testing.assert_close(ours.pos_embed, expected)
    assert torch.equal(ours.blocks[11].mlp.fc2.weight, reference.blocks[11].mlp.fc2.weight)
