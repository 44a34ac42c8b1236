"""TS-CAM and its transformers: each step by hand or by timm."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import nn

from pipeline.errors import UserError
from train.backbones.base import build_backbone
from train.backbones.vit import VisionTransformer
from train.card.checks import check_model, method_backbones, needed_weights
from train.methods.base import Output, build_method
from train.methods.tscam import TsCam


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "reg_tokens": 2, "class_token": True}, {"qkv_bias": False}])
def test_attention_of_the_class_token_is_that_of_timms_own_softmax(options):
    torch.manual_seed(0)
    size = {"img_size": (24, 32), "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 0}
    network = TimmVisionTransformer(**size, **options).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    ours, seen = VisionTransformer(network), []
    for block in network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _m, _i, weights: seen.append(weights))
    with torch.no_grad():
        features = ours(torch.randn(2, 3, 24, 32))
    first = network.num_prefix_tokens
    expected = sum(weights.mean(1)[:, 0, first:] for weights in seen)
    torch.testing.assert_close(features[2], expected.reshape(2, 1, 3, 4))
    assert features[2].std() > 0.01
    assert ours.channels == {1: 16, 2: 1}


def test_patch_tokens_are_laid_out_row_by_row():
    torch.manual_seed(0)
    network = build_backbone("deit_micro", init="none", image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        patches, tokens = network(images)[1], network.network.forward_features(images)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(patches[:, :, row, column], tokens[:, 1 + 4 * row + column])


def test_tscam_by_hand():
    method = TsCam(build_backbone("deit_micro", init="none", image_size=32), 3)
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, -4.0]], [[5.0, 6.0]]], [[[1.0, 1.0]], [[2.0, 0.0]], [[0.5, 3.0]]]])
    looks = torch.tensor([[[[0.5, 0.25]]], [[[2.0, 1.0]]]])
    output = Output(maps.mean((2, 3)), {1: torch.zeros(2, 192, 1, 2), 2: looks}, maps)
    cam = method.cam(output, torch.tensor([1, 2]))
    torch.testing.assert_close(cam, torch.tensor([[[1.5, -1.0]], [[1.0, 3.0]]]))


def test_logits_of_tscam_are_means_of_a_convolution_over_the_patches():
    torch.manual_seed(0)
    method = TsCam(build_backbone("deit_micro", init="none", image_size=32), 3).eval()
    with torch.no_grad():
        output = method(torch.randn(2, 3, 32, 32))
    padded = nn.functional.pad(output.features[1], (1, 1, 1, 1))
    corner = torch.einsum("bcij,kcij->bk", padded[:, :, 1:4, 2:5], method.head.weight) + method.head.bias
    torch.testing.assert_close(output.maps[:, :, 1, 2], corner, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.logits, output.maps.mean((2, 3)))


def test_tscam_runs_on_timms_transformers(make_card):
    card = make_card(method="tscam", model__backbone="timm/vit_tiny_patch16_224", guidance__layers=(1,))
    torch.manual_seed(0)
    method = build_method(card).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        output = method(images)
        expected = method.backbone.network.forward_features(images)[:, 1:].transpose(1, 2).reshape(2, 192, 4, 4)
    torch.testing.assert_close(output.features[1], expected)
    method(images).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_backbones_without_a_class_token_are_refused(make_card):
    with pytest.raises(UserError, match=r"tscam runs on deit_small, deit_micro, timm/<name>, not on resnet18"):
        check_model(make_card(method="tscam", model__backbone="resnet18"))
    for name in ("timm/convnext_atto", "timm/mixer_s32_224"):
        with pytest.raises(UserError, match=r"model\.backbone: this method needs the attention of a class token"):
            build_method(make_card(method="tscam", model__backbone=name, guidance__layers=(5,)))
    with pytest.raises(UserError, match=r"cam runs on resnet18, .*timm/<name>, not on ir50"):
        check_model(make_card(model__backbone="ir50"))
    with pytest.raises(UserError, match=r"guidance\.layers: deit_micro has no layer 5; it has 1, 2"):
        check_model(make_card(method="tscam", model__backbone="deit_micro"))
    with pytest.raises(UserError, match=r"guidance\.layers: timm/vit_tiny_patch16_224 has no layer 5; it has 1, 2"):
        build_method(make_card(method="tscam", model__backbone="timm/vit_tiny_patch16_224"))
    assert method_backbones("apvit") == ["ir50", "ir50_micro"]


def test_attention_that_the_au_term_aligns_is_not_zero_at_a_start_from_nothing(make_card):
    card = make_card(method="tscam", model__backbone="deit_micro", guidance__layers=(1,))
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert build_method(card, initialise=False)(images).features[1].mean(1).abs().max() < 1e-6
        assert build_method(card)(images).features[1].mean(1).std() > 1e-3


def test_the_card_names_the_file_that_is_fetched(make_card):
    deit = make_card(method="tscam", model__backbone="deit_small", model__init="imagenet", guidance__layers=(1,))
    assert needed_weights(deit) == ["backbone:deit_small"]
