"""Backbones: features of the right layers, weights from files in their publishers' formats, one clear line without."""

import pickle
from functools import partial

import pytest
import torch
import torchvision
from timm.layers import resample_abs_pos_embed

from pipeline.errors import UserError
from train.backbones import ir50, resnet, vit
from train.backbones.base import build_backbone
from train.backbones.registry import BACKBONES
from train.weights.fetch import known_weights
from train.weights.load import read_tensors

RESNET = [112, 56, 28, 28, 28]
SIDES = {
    "deit_small": [14, 14],
    "deit_micro": [28, 28],
    "ir50": [28],
    "ir50_micro": [28],
    "resnet50_small_maps": [112, 56, 28, 14, 7],
    "resnet10_half_unpooled": [112, 112, 56, 28, 28],
    "resnet18_quarter_unpooled": [112, 112, 56, 28, 28],
}


@pytest.mark.parametrize("name", BACKBONES)
def test_sizes_and_channels_are_those_that_the_card_is_checked_against(name):
    network = build_backbone(name, init="none")
    with torch.no_grad():
        features = network.eval()(torch.zeros(1, 3, 224, 224))
    assert [part.shape[-1] for part in features.values()] == SIDES.get(name, RESNET)
    assert {layer: part.shape[1] for layer, part in features.items()} == network.channels
    assert tuple(features) == BACKBONES[name].layers


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("resnet18", ("layer4.",)),
        ("deit_micro", ("network.blocks.3.", "network.norm.")),
        ("ir50_micro", ("body.2.",)),
        ("timm/convnext_atto", ("network.stages.3.",)),
        (
            "timm/densenet121",
            ("network.features.transition3.", "network.features.denseblock4.", "network.features.norm5."),
        ),
        ("timm/efficientnet_b0", ("network.blocks.5.", "network.blocks.6.", "network.conv_head.", "network.bn2.")),
        ("timm/vit_tiny_patch16_224", ("network.blocks.10.", "network.blocks.11.", "network.norm.")),
    ],
)
def test_parameters_of_the_last_stage(name, last):
    network = build_backbone(name, init="none", image_size=64)
    found = {id(parameter) for parameter in network.last_stage_parameters()}
    assert found == {id(value) for key, value in network.named_parameters() if key.startswith(last)}


def test_parameters_of_resnet50_are_those_of_the_published_encoder():
    count = sum(parameter.numel() for parameter in resnet.build_network("resnet50", None).parameters())
    assert count + 2048 * 7 + 7 == 23_522_375  # the published count


def test_convolutions_start_with_the_variance_of_he():
    torch.manual_seed(0)
    weight = resnet.build_network("resnet18", None).layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_every_known_backbone_is_listed():
    assert set(BACKBONES) == {*resnet.DESIGNS, *vit.DESIGNS, *ir50.DESIGNS}


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), folder / "resnet18-f37072fd.pth")
    return folder, network


def test_imagenet_weights_come_from_the_folder(torchvision_file):
    folder, network = torchvision_file
    ours = build_backbone("resnet18", weights=folder)
    assert torch.equal(ours.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    assert torch.equal(ours.bn1.running_var, network.bn1.running_var)


def test_weights_from_a_path_and_none_at_all(torchvision_file):
    folder, network = torchvision_file
    given = build_backbone("resnet18", init=str(folder / "resnet18-f37072fd.pth"))
    assert torch.equal(given.conv1.weight, network.conv1.weight)
    random = build_backbone("resnet18", init="none")
    assert not torch.equal(random.conv1.weight, network.conv1.weight)


def test_a_missing_file_is_named_with_its_address(tmp_path):
    with pytest.raises(UserError) as caught:
        build_backbone("resnet50", weights=tmp_path)
    for part in (
        str(tmp_path / "resnet50-0676ba61.pth"),
        known_weights()["backbone:resnet50"],
        "snakemake weights",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match=r"model\.init: lost\.pth does not exist"):
        build_backbone("resnet50", init="lost.pth")


def test_weights_of_another_network_are_refused_by_tensor(tmp_path, torchvision_file):
    _, network = torchvision_file
    path = tmp_path / "other.pth"
    tensors = network.state_dict()
    torch.save({k: v for k, v in tensors.items() if k != "layer2.0.bn1.bias"}, path)
    with pytest.raises(UserError, match=r"tensor layer2\.0\.bn1\.bias is missing"):
        build_backbone("resnet18", init=str(path))
    torch.save({**tensors, "conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(UserError, match=r"conv1\.weight is \(64, 3, 3, 3\) instead of \(64, 3, 7, 7\)"):
        build_backbone("resnet18", init=str(path))
    torch.save({**tensors, "head.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"head\.weight has no place"):
        build_backbone("resnet18", init=str(path))


class Runs:
    """Would create a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_with_code_or_garbage_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"conv1.weight": Runs(trace)}, path)
    with pytest.raises(UserError, match=r"evil\.pth is not a plain file of weights"):
        build_backbone("resnet18", init=str(path))
    path.write_bytes(pickle.dumps(Runs(trace)))
    with pytest.raises(UserError, match=r"evil\.pth"):
        build_backbone("resnet18", init=str(path))
    assert not trace.exists()
    for suffix in (".pth", ".safetensors"):
        garbage = tmp_path / f"garbage{suffix}"
        garbage.write_bytes(b"no weights at all")
        with pytest.raises(UserError, match="garbage"):
            build_backbone("resnet18", init=str(garbage))


def test_a_damaged_pickle_is_refused_and_a_mistake_of_ours_is_not_hidden(tmp_path, monkeypatch):
    path = tmp_path / "short.pth"
    path.write_bytes(b"\x80\x02.")  # ends without a value on the stack
    with pytest.raises(UserError, match=r"short\.pth is not a plain file of weights \(IndexError\)"):
        read_tensors(path)

    def mistake(*_, **__):
        raise TypeError("load() got an unexpected keyword argument")

    monkeypatch.setattr(torch, "load", mistake)
    with pytest.raises(TypeError, match="unexpected keyword"):
        read_tensors(path)


@pytest.fixture(scope="module")
def evolve_file(tmp_path_factory):
    """A file as face.evoLVe writes it for ir50_micro: units numbered through, a fourth stage and an embedding."""
    torch.manual_seed(4)
    network = build_backbone("ir50_micro", init="none")
    numbers = {"body.0.0.": "body.0.", "body.1.0.": "body.1.", "body.2.0.": "body.2.", "body.2.1.": "body.3."}
    tensors = {}
    for name, value in network.state_dict().items():
        lead = name[: len("body.0.0.")]
        tensors[numbers.get(lead, lead) + name[len(lead) :]] = value
    tensors["body.4.res_layer.1.weight"] = tensors["output_layer.3.weight"] = torch.zeros(2, 2)
    path = tmp_path_factory.mktemp("evolve") / "backbone.pth"
    torch.save(tensors, path)
    return path, network, tensors


def test_units_of_face_evolve_go_to_their_stages(evolve_file):
    path, network, _ = evolve_file
    ours = build_backbone("ir50_micro", init=str(path))
    for name, value in network.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_ir50_numbers_its_units_3_4_14():
    names = {f"body.{number}.x": torch.tensor(float(number)) for number in range(24)}
    staged = ir50._staged(names, (3, 4, 14))
    assert staged == {f"body.0.{n}.x": n for n in range(3)} | {f"body.1.{n}.x": n + 3 for n in range(4)} | {
        f"body.2.{n}.x": n + 7 for n in range(14)
    }


def test_a_file_that_is_not_of_face_evolve_is_refused(evolve_file, torchvision_file, tmp_path):
    _, _, tensors = evolve_file
    path = tmp_path / "other.pth"
    build = partial(build_backbone, "ir50_micro", init=str(path))
    torch.save({k: v for k, v in tensors.items() if k != "body.3.res_layer.2.weight"}, path)
    with pytest.raises(
        UserError, match=r"other\.pth fits another network: the tensor body\.2\.1\.res_layer\.2\.weight is miss"
    ):
        build()
    torch.save({**tensors, "input_layer.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(UserError, match=r"input_layer\.0\.weight is \(64, 3, 3, 3\) instead of \(32, 3, 3, 3\)"):
        build()
    torch.save(torchvision_file[1].state_dict(), path)
    with pytest.raises(
        UserError, match=r"other\.pth fits another network: the tensor input_layer\.0\.weight is missing"
    ):
        build()


def test_the_ms1m_file_is_asked_for_by_name_and_place(tmp_path, evolve_file):
    build = partial(build_backbone, "ir50", init="ms1m", weights=tmp_path)
    with pytest.raises(UserError) as caught:
        build()
    path = tmp_path / "backbone_ir50_ms1m_epoch120.pth"
    assert str(caught.value).startswith(
        f"model.init: {path} is missing: download that file from the model zoo of face.evoLVe"
    )
    torch.save(evolve_file[2], path)
    with pytest.raises(UserError, match=r"ms1m_epoch120\.pth fits another network: the tensor"):
        build()


def test_a_unit_without_its_convolutions_takes_every_second_pixel():
    unit = ir50.Unit(2, 2, stride=2)
    torch.nn.init.zeros_(unit.res_layer[-1].weight)
    features = torch.arange(2 * 5 * 5.0).reshape(1, 2, 5, 5)
    torch.testing.assert_close(unit(features), features[:, :, ::2, ::2])


@pytest.fixture(scope="module")
def deit_file(tmp_path_factory):
    """A file as DeiT's authors publish it, for deit_micro at 32 px: below the key `model`, with a head."""
    torch.manual_seed(5)
    network = build_backbone("deit_micro", init="none", image_size=32).network
    path = tmp_path_factory.mktemp("deit") / "deit.pth"
    head = {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    torch.save({"model": {**network.state_dict(), **head}}, path)
    return path, network


def test_deit_weights_come_without_their_head(deit_file):
    path, network = deit_file
    ours = build_backbone("deit_micro", init=str(path), image_size=32)
    for name, value in network.state_dict().items():
        assert torch.equal(ours.network.state_dict()[name], value), name


def test_positional_embeddings_fit_another_image_size(deit_file):
    path, network = deit_file
    ours = build_backbone("deit_micro", init=str(path), image_size=64).network
    expected = resample_abs_pos_embed(network.pos_embed, [8, 8], num_prefix_tokens=1)
    assert ours.pos_embed.shape == (1, 65, 192)
    torch.testing.assert_close(ours.pos_embed, expected)
    assert torch.equal(ours.pos_embed[:, 0], network.pos_embed[:, 0])
    assert torch.equal(ours.blocks[3].mlp.fc2.weight, network.blocks[3].mlp.fc2.weight)


def test_another_transformer_is_refused(deit_file, tmp_path):
    path, network = deit_file
    with pytest.raises(
        UserError, match=r"deit\.pth fits another network: the tensor cls_token is \(1, 1, 192\) instead of"
    ):
        build_backbone("deit_small", init=str(path))
    smaller = {k: v for k, v in network.state_dict().items() if not k.startswith("blocks.3.")}
    torch.save({"model": smaller}, tmp_path / "short.pth")
    with pytest.raises(
        UserError, match=r"short\.pth fits another network: the tensor blocks\.3\.norm1\.weight is missing"
    ):
        build_backbone("deit_micro", init=str(tmp_path / "short.pth"), image_size=32)
    with pytest.raises(UserError, match=r"deit_small_patch16_224-cd65a155\.pth is missing: .*dl\.fbaipublicfiles\.com"):
        build_backbone("deit_small", weights=tmp_path)
