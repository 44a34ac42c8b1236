"""Vision transformers that also return the attention of the class token.

Sources: Dosovitskiy et al., 2021; DeiT: Touvron et al., 2021. The network is timm's, so that its tensors and DeiT's
have their names.
"""

from pathlib import Path
from typing import Any

import torch
from timm.models import vision_transformer as timm_vit
from torch import Tensor, nn

from pipeline.errors import UserError
from train.backbones.base import Backbone
from train.backbones.timm import TimmBackbone, adapted, check_patches
from train.weights.load import load_weights

DESIGNS: dict[str, dict[str, Any]] = {
    "deit_small": {"patch_size": 16, "embed_dim": 384, "depth": 12, "num_heads": 6},
    "deit_micro": {"patch_size": 8, "embed_dim": 192, "depth": 4, "num_heads": 3},  # for the demo on a CPU
}
CONVOLUTIONAL = ("deit_micro",)  # starts from nothing on few faces, where cut-out patches learn too slowly


class VisionTransformer(Backbone):
    """Layer 1 is the map of the patch tokens after the final LayerNorm, layer 2 the attention of the class token.

    Layer 2 (b, 1, h, w) is the softmax attention of the class token over the patches, averaged over the heads and
    added up over the blocks.
    """

    network: Any

    def __init__(self, network: timm_vit.VisionTransformer) -> None:
        super().__init__()
        self.network = network
        self.channels = {1: network.embed_dim, 2: 1}

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return both layers of images (b, 3, s, s)."""
        network = self.network
        tokens = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(images))))
        looks = []
        for block in network.blocks:
            looks.append(class_attention(block.attn, block.norm1(tokens)))
            tokens = block(tokens)
        first, grid = network.num_prefix_tokens, network.patch_embed.grid_size
        patches = network.norm(tokens)[:, first:].transpose(1, 2).unflatten(2, grid)
        attended = torch.unflatten(torch.stack(looks).sum(0)[:, None, first:], 2, grid)
        return {1: patches, 2: attended}

    def last_stage_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the last block and the final LayerNorm."""
        return [*self.network.blocks[-1].parameters(), *self.network.norm.parameters()]


def class_attention(attention: Any, tokens: Tensor) -> Tensor:
    """Return how the class token attends to all tokens (b, n, dim) in one block: (b, n), the mean over its heads.

    `attention` is timm's module; it computes the same softmax for every token, but does not return it.
    """
    weight, bias = attention.qkv.weight.chunk(3), (None, None)
    if attention.qkv.bias is not None:
        bias = attention.qkv.bias.chunk(3)
    heads = (attention.num_heads, attention.head_dim)
    query = torch.unflatten(nn.functional.linear(tokens[:, 0], weight[0], bias[0]), 1, heads)
    keys = torch.unflatten(nn.functional.linear(tokens, weight[1], bias[1]), 2, heads)
    scores: Tensor = torch.einsum("bhd,bnhd->bhn", attention.q_norm(query), attention.k_norm(keys))
    scale: float = attention.scale
    return (scores.float() * scale).softmax(2).mean(1)


def attending(backbone: Backbone) -> VisionTransformer:
    """Return a backbone that has the attention of the class token; raise UserError if this one cannot have it."""
    if isinstance(backbone, VisionTransformer):
        return backbone
    network = backbone.network if isinstance(backbone, TimmBackbone) else None
    if isinstance(network, timm_vit.VisionTransformer) and network.has_class_token:
        return VisionTransformer(network)
    raise UserError(
        "model.backbone: this method needs the attention of a class token; "
        f"choose {', '.join(DESIGNS)} or one of timm's plain vision transformers such as timm/vit_tiny_patch16_224"
    )


def build_network(name: str, path: Path | None, image_size: int) -> VisionTransformer:
    """Build a transformer by name, with the weights of DeiT's or timm's file or, without `path`, random ones."""
    check_patches(name, DESIGNS[name]["patch_size"], image_size)
    network = timm_vit.VisionTransformer(img_size=image_size, num_classes=0, **DESIGNS[name])
    if name in CONVOLUTIONAL:
        network.patch_embed.proj = _stem(network.embed_dim)
    if path is not None:
        load_weights(network, path, ignore=("head.",), adapt=lambda tensors: adapted(tensors, network))
    return VisionTransformer(network)


def _stem(dim: int) -> nn.Sequential:
    """Three convolutions of stride 2 in the place of 8-px patches (Xiao et al., NeurIPS 2021, early convolutions)."""
    first = nn.Sequential(nn.Conv2d(3, dim // 4, 3, 2, 1, bias=False), nn.BatchNorm2d(dim // 4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(dim // 4, dim // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(dim // 2), nn.ReLU())
    return nn.Sequential(*first, *second, nn.Conv2d(dim // 2, dim, 3, 2, 1))
