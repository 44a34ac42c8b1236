"""APViT (Xue et al., IEEE TAFFC 2022): a transformer on a CNN's features, which drops what matters least, twice."""

import torch
import torch.nn.functional as F  # noqa: N812
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from pipeline.errors import UserError
from train.backbones.base import Backbone
from train.card.options import Count, Mode, Positive, Share, Start
from train.card.schema import Model
from train.methods.base import Method, Output, published
from train.weights.load import load_weights, weights_file

BACKBONES = ("ir50", "ir50_micro")
OLD_PARTS = ("patch_embed.", "head.")  # of timm's first vit_small, which have no place here


class ApVit(Method):
    """Attentive patch pooling of the CNN's features Ft, then attentive token pooling inside the transformer.

    A 1x1 convolution turns Ft into tokens E; only the `keep` tokens with the largest a = sum over channels of |E| enter
    the transformer, in raster order, behind a class token. Each block of its second half keeps the share `rate` of
    them: those with the largest q_cls . k, added over the heads, before the softmax. The logits are linear in the class
    token. Layer 1 is Ft.

    original: no class map, as the method has none, and a linear layer that starts at zero, as in the method's own code.
    published: the map is a, the same for every class, and the linear layer starts as torch's do. The published code
    also skips a pooling step in batches of 161, 145, 130 or 117 images, which is not repeated here.

    `vit_weights` is the file of timm's first vit_small (vit_small_p16_224-15ec54c9.pth), "imagenet" for that file in
    the folder of weights, or "none".
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        mode: Mode = "original",
        keep: Count = 160,
        rate: Share = 0.9,
        dim: Count = 768,
        depth: Count = 8,
        heads: Count = 8,
        mlp_ratio: Positive = 3.0,
        vit_weights: Start = "none",
    ) -> None:
        super().__init__()
        if dim % heads:
            raise UserError(f"model.options.heads: the heads of apvit divide its dim; {heads} do not divide {dim}")
        self.published = published(mode)
        self.backbone, self.keep, self.vit_weights = backbone, keep, vit_weights
        self.projection = nn.Conv2d(backbone.channels[1], dim, kernel_size=1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.cls_pos_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.patch_pos_embed = nn.Parameter(torch.zeros(1, backbone.grid**2, dim))
        rates = [1.0 if number < depth // 2 else rate for number in range(depth)]
        self.blocks = nn.Sequential(*(Block(dim, heads, int(dim * mlp_ratio), share) for share in rates))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for part in (self.cls_token, self.cls_pos_embed, self.patch_pos_embed):
            nn.init.trunc_normal_(part, std=0.02)
        self.fc = nn.Linear(dim, classes)
        if not self.published:
            nn.init.zeros_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor, target: Tensor | None = None) -> Output:
        """Classify images (b, 3, s, s) of the card's size."""
        features = self.backbone(images)
        embedded = self.projection(features[1])
        tokens = embedded.flatten(2).transpose(1, 2) + self.patch_pos_embed
        tokens = strongest(tokens, embedded.abs().sum(1).flatten(1), self.keep)
        first = (self.cls_token + self.cls_pos_embed).expand(len(images), -1, -1)
        tokens = self.blocks(torch.cat([first, tokens], 1))
        return Output(self.fc(self.norm(tokens[:, 0])), features)

    def cam(self, output: Output, classes: Tensor) -> Tensor | None:
        """Return None, as the method has no class map; in the published mode the map a (b, h, w) for any class."""
        return self.projection(output.features[1]).detach().float().abs().sum(1) if self.published else None

    def initialise(self, model: Model) -> None:
        """Put the weights that `vit_weights` names into everything behind the projection but the linear layer."""
        path = weights_file(self.vit_weights, "apvit:vit_weights", model.weights, key="model.options.vit_weights")
        if path is not None:
            load_weights(self, path, ignore=("backbone.", "projection.", "fc.", *OLD_PARTS), adapt=_split_positions)

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the last block, the final norm and the linear layer."""
        return [*self.blocks[-1].parameters(), *self.norm.parameters(), *self.fc.parameters()]


class Attention(nn.Module):
    """Self-attention that also tells how well each token's key fits the query of the class token."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attended tokens (b, 1 + n, dim) and the scores (b, n) of all but the class token."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhd,bhnd->bn", query[:, :, 0], key[:, :, 1:])  # the softmax's scale keeps their order
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2)), scores


class Block(nn.Module):
    """Pre-norm transformer block that keeps the share `rate` of its tokens between attention and MLP."""

    def __init__(self, dim: int, heads: int, hidden: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens (b, 1 + m, dim) that are left of (b, 1 + n, dim), m = floor(rate * n)."""
        attended, scores = self.attn(self.norm1(tokens))
        tokens = tokens + attended
        if self.rate < 1:
            kept = strongest(tokens[:, 1:], scores, int(self.rate * scores.shape[1]))
            tokens = torch.cat([tokens[:, :1], kept], 1)
        update: Tensor = self.mlp(self.norm2(tokens))
        return tokens + update


def strongest(tokens: Tensor, scores: Tensor, count: int) -> Tensor:
    """Keep the `count` tokens of (b, n, dim) with the largest scores (b, n), in their order; all if there are fewer."""
    chosen = scores.topk(min(count, scores.shape[1])).indices.sort(1).values
    return tokens.take_along_dim(chosen[:, :, None], 1)


def _split_positions(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Part the positional embeddings of the old file into the class token's and those of the patches."""
    positions = tensors.pop("pos_embed", None)
    if positions is None or positions.ndim != 3:
        return tensors
    return {**tensors, "cls_pos_embed": positions[:, :1], "patch_pos_embed": positions[:, 1:]}
