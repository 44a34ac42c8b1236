"""APViT: its poolings by hand, its attention by torch's, and the files it starts from."""

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from train.backbones.base import Backbone, build_backbone
from train.card.checks import check_model, needed_weights
from train.card.schema import Model
from train.methods.apvit import ApVit, Attention, Block, strongest

OLD_VIT = "vit_small_p16_224-15ec54c9.pth"


class Pixels(Backbone):
    """The images are the features: two channels on a grid of 2 x 2."""

    def __init__(self):
        super().__init__()
        self.channels, self.grid = {1: 2}, 2

    def forward(self, images):
        return {1: images}

    def last_stage_parameters(self):
        return []


def small(**options):
    """APViT on `Pixels` with a linear layer that shows what comes out."""
    torch.manual_seed(0)
    method = ApVit(Pixels(), 3, **{"dim": 4, "depth": 2, "heads": 2, "keep": 2, "rate": 1.0, **options}).eval()
    nn.init.normal_(method.fc.weight)
    return method


def test_the_strongest_tokens_stay_in_their_order():
    tokens = torch.arange(2 * 5 * 2.0).reshape(2, 5, 2)
    scores = torch.tensor([[0.1, 0.9, -3.0, 0.5, 0.7], [5.0, 1.0, 4.0, 2.0, 3.0]])
    kept = strongest(tokens, scores, 3)
    assert torch.equal(kept, torch.stack([tokens[0, [1, 3, 4]], tokens[1, [0, 2, 4]]]))
    assert torch.equal(strongest(tokens, scores, 9), tokens)


def test_a_block_keeps_the_tokens_that_the_class_token_asks_for_by_hand():
    block = Block(dim=2, heads=2, hidden=2, rate=0.75)
    block.norm1 = nn.Identity()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        block.attn.qkv.weight[:4] = torch.eye(2).repeat(2, 1)  # queries and keys are the tokens, values are zero
    cls, patches = [1.0, 2.0], [[3.0, -1.0], [-1.0, 0.0], [2.0, 0.5], [-5.0, 4.0]]
    kept = block(torch.tensor([[cls, *patches]]))  # q . k over both heads: 1, -1, 3, 3
    torch.testing.assert_close(kept, torch.tensor([[cls, patches[0], patches[2], patches[3]]]))
    block.rate = 0.5
    torch.testing.assert_close(block(torch.tensor([[cls, *patches]])), torch.tensor([[cls, patches[2], patches[3]]]))


def test_attention_is_torchs_own():
    torch.manual_seed(0)
    ours, tokens = Attention(12, 3), torch.randn(2, 5, 12)
    reference = nn.MultiheadAttention(12, 3, bias=True, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(ours.qkv.weight)
        reference.in_proj_bias.zero_()
        reference.out_proj.load_state_dict(ours.proj.state_dict())
        attended, scores = ours(tokens)
        expected, weights = reference(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(attended, expected)
    logs = weights[:, :, 0].log()  # the softmax's logarithm is q . k / sqrt(4) up to a constant per head
    assert torch.equal(scores.argsort(1), logs.sum(1)[:, 1:].argsort(1))


def test_tokens_thin_out_from_160_to_104():
    torch.manual_seed(0)
    network = build_backbone("ir50_micro", init="none", image_size=112)
    method, counts = ApVit(network, 7, dim=12, heads=2).eval(), []
    for block in method.blocks:
        block.register_forward_hook(lambda _m, inputs, out: counts.append((inputs[0].shape[1], out.shape[1])))
    with torch.no_grad():
        method(torch.randn(1, 3, 112, 112))
    assert counts == [*[(161, 161)] * 4, (161, 145), (145, 130), (130, 117), (117, 105)]


def test_what_is_not_kept_is_not_looked_at():
    method = small()
    nn.init.zeros_(method.projection.bias)
    images = torch.tensor([[[[5.0, 0.1], [0.2, -6.0]], [[1.0, 0.1], [0.1, 3.0]]]])
    weak, strong = images.clone(), images.clone()
    weak[..., 0, 1] = torch.tensor([-0.3, 0.2])
    strong[..., 1, 1] = torch.tensor([-6.0, 4.0])
    with torch.no_grad():
        logits = method(images).logits
        assert torch.equal(method(weak).logits, logits)
        assert not torch.allclose(method(strong).logits, logits)
        every = small(keep=100)
        assert not torch.allclose(every(weak).logits, every(images).logits)


def test_the_modes_of_apvit():
    images = torch.randn(2, 2, 2, 2)
    torch.manual_seed(0)
    original, published = ApVit(Pixels(), 3, dim=4, heads=2), ApVit(Pixels(), 3, dim=4, heads=2, mode="published")
    assert original.cam(original(images), torch.tensor([0, 1])) is None
    assert not original.fc.weight.any()
    assert published.fc.weight.std() > 0.1
    cam = published.cam(published(images), torch.tensor([0, 1]))
    embedded = torch.einsum("bchw,dc->bdhw", images, published.projection.weight[..., 0, 0])
    expected = (embedded + published.projection.bias[:, None, None]).abs().sum(1)
    torch.testing.assert_close(cam, expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "paper"}, "there is no mode 'paper'"),
        ({"heads": 3}, r"model\.options\.heads: .* 3 do not divide 4"),
    ],
)
def test_options_of_apvit_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        small(**options)


@pytest.fixture(scope="module")
def old_vit(tmp_path_factory):
    """A small file in the format of timm's first vit_small: one positional embedding per token, a 1000-class head."""
    torch.manual_seed(7)
    tensors = {
        f"blocks.{n}.{key}": torch.randn_like(value)
        for n in range(2)
        for key, value in Block(4, 2, 12, 1).state_dict().items()
    }
    tensors |= {"cls_token": torch.randn(1, 1, 4), "pos_embed": torch.randn(1, 5, 4)}
    tensors |= {"norm.weight": torch.randn(4), "norm.bias": torch.randn(4)}
    tensors |= {"patch_embed.proj.weight": torch.zeros(4, 768), "patch_embed.proj.bias": torch.zeros(4)}
    tensors |= {"head.weight": torch.zeros(1000, 4), "head.bias": torch.zeros(1000)}
    folder = tmp_path_factory.mktemp("vit")
    torch.save(tensors, folder / OLD_VIT)
    return folder, tensors


def test_old_vit_weights_go_to_the_transformer_alone(old_vit):
    folder, tensors = old_vit
    for value in ("imagenet", str(folder / OLD_VIT)):
        method = small(vit_weights=value)
        before = {name: part.clone() for name, part in method.state_dict().items()}
        method.initialise(Model(init="none", weights=folder))
        after = method.state_dict()
        for name in ("cls_token", "norm.weight", "blocks.1.attn.qkv.weight", "blocks.0.mlp.fc2.bias"):
            assert torch.equal(after[name], tensors[name])
        assert torch.equal(after["cls_pos_embed"], tensors["pos_embed"][:, :1])
        assert torch.equal(after["patch_pos_embed"], tensors["pos_embed"][:, 1:])
        for name in ("projection.weight", "fc.weight", "fc.bias"):
            assert torch.equal(after[name], before[name])


def test_old_vit_weights_that_are_absent_or_of_something_else_are_refused(old_vit, tmp_path):
    folder, tensors = old_vit
    with pytest.raises(
        UserError, match=rf"{OLD_VIT} is missing: .*github\.com/rwightman/pytorch-image-models/.*{OLD_VIT}"
    ):
        small(vit_weights="imagenet").initialise(Model(init="none", weights=tmp_path))
    with pytest.raises(UserError, match=r"model\.options\.vit_weights: lost\.pth does not exist"):
        small(vit_weights="lost.pth").initialise(Model(init="none"))
    wider = small(vit_weights="imagenet")
    wider.patch_pos_embed = nn.Parameter(torch.zeros(1, 9, 4))
    with pytest.raises(UserError, match=r"the tensor patch_pos_embed is \(1, 4, 4\) instead of \(1, 9, 4\)"):
        wider.initialise(Model(init="none", weights=folder))
    path = tmp_path / "other.pth"
    torch.save({**tensors, "blocks.0.attn.qkv.bias": torch.zeros(12)}, path)  # as today's vit_small has them
    with pytest.raises(
        UserError, match=r"other\.pth fits another network: the tensor blocks\.0\.attn\.qkv\.bias has no"
    ):
        small(vit_weights=str(path)).initialise(Model(init="none"))
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(UserError, match=r"other\.pth fits another network: the tensor cls_token is missing"):
        small(vit_weights=str(path)).initialise(Model(init="none"))


def test_cards_name_the_files_that_are_fetched(make_card):
    options = {"model__backbone": "ir50", "model__init": "ms1m", "guidance__layers": (1,)}
    card = make_card(method="apvit", **options, model__options={"vit_weights": "imagenet", "keep": 100})
    assert needed_weights(card) == ["apvit:vit_weights"]
    check_model(card)
    for changes, said in (
        (
            {"model__init": "imagenet"},
            "there are no ImageNet weights of ir50; give ms1m, none or a file's path",
        ),
        ({"model__backbone": "ir50_micro"}, "the ms1m weights are of ir50, not of ir50_micro"),
    ):
        with pytest.raises(UserError, match=said):
            check_model(make_card(method="apvit", **{**options, **changes}))
