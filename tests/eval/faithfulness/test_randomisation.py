import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from eval.faithfulness.randomisation import cascade, rank_correlation, stages, untrained
from tests.support.family import FAMILY
from train.methods.base import build_method

RESNET = ["conv1", "layer1", "layer2", "layer3", "layer4"]
TRANSFORMER = ["embeddings", "patch_embed", "blocks.0", "blocks.1", "blocks.2", "blocks.3"]
IR50 = ["embeddings", "input_layer", "body.0", "body.1", "body.2"]
EXPECTED = {
    "cam": [*RESNET, "fc"],
    "acol": [*RESNET, "tower_a", "tower_b"],
    "wildcat": [*RESNET, "modalities"],
    "prm": [*RESNET, "conv"],
    "tscam": [*TRANSFORMER, "head"],
    "apvit": [*IR50, "projection", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "fc"],
}


def state(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_stages_run_from_the_input_to_the_logits(name, make_card):
    assert list(stages(build_method(make_card(method=name, **FAMILY[name])))) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("convnext_atto", ["stem", "stages.0", "stages.1"], ["stages.3", "fc"]),
        ("efficientnet_b0", ["conv_stem", "blocks.0", "blocks.1"], ["conv_head", "fc"]),
        ("vit_tiny_patch16_224", ["embeddings", "patch_embed", "blocks.0"], ["blocks.11", "fc"]),
        ("resnet10t", ["conv1", "layer1", "layer2"], ["layer4", "fc"]),
    ],
)
def test_stages_of_other_networks(name, first, last, make_card):
    found = list(stages(build_method(make_card(model__backbone=f"timm/{name}"))))
    assert found[:3] == first
    assert found[-2:] == last


@pytest.mark.parametrize("name", FAMILY)
def test_every_tensor_is_in_one_stage_and_random_in_the_end(name, make_card):
    card = make_card(method=name, **FAMILY[name])
    torch.manual_seed(7)
    method = build_method(card)
    names = [one for members in stages(method).values() for one in members]
    assert sorted(names) == sorted(method.state_dict())
    for _ in cascade(method, card, seed=3):
        pass
    fresh = untrained(card, 3).state_dict()
    assert all(torch.equal(value, fresh[one]) for one, value in method.state_dict().items())


def test_weights_are_replaced_from_the_logits_down(make_card):
    card = make_card()
    torch.manual_seed(7)
    method = build_method(card)
    before, replaced = state(method), []
    for stage in cascade(method, card, seed=3):
        now = method.state_dict()
        changed = {name for name, value in before.items() if not torch.equal(value, now[name])}
        replaced.append((stage, {name.removeprefix("backbone.").partition(".")[0] for name in changed}))
    assert replaced[0] == ("fc", {"fc"})
    assert replaced[1] == ("layer4", {"fc", "layer4"})
    assert replaced[-1][0] == "conv1"
    assert {"fc", "layer1", "layer2", "layer3", "layer4", "conv1"} <= replaced[-1][1]


def test_statistics_of_normalisation_are_forgotten_too(make_card):
    card = make_card()
    method = build_method(card)
    method.backbone.bn1.running_mean.fill_(5)
    for stage in cascade(method, card, seed=0):
        assert method.backbone.bn1.running_mean.eq(0 if stage == "conv1" else 5).all()


def test_an_untrained_network_follows_from_its_seed_and_leaves_torch_alone(make_card):
    card = make_card(model__init="imagenet", model__backbone="resnet50")  # whose weights nobody fetched
    torch.manual_seed(0)
    first = torch.get_rng_state()
    one, same, other = (state(untrained(card, seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), first)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["fc.weight"], other["fc.weight"])


def test_rank_correlation_by_hand():
    first = np.array([[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[0, 0], [0, 5]], [[1, 2], [3, 4]]], float)
    second = np.array([[[10, 20], [30, 99]], [[4, 3], [2, 1]], [[1, 1], [1, 1]], [[2, 1], [4, 3]]], float)
    # The last: differences of rank are all 1, so 1 - 6 * 4 / (4 * 15) = 0.6. A constant map orders nothing.
    assert rank_correlation(first, second) == pytest.approx([1, -1, 0, 0.6])


def test_rank_correlation_against_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(6, 7, 5)), rng.integers(0, 4, (6, 7, 5)).astype(float)  # many ties
    second[:3] += first[:3]
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(expected)
