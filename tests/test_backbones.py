"""Backbones: features of torchvision and timm at the right layers, weights from files, one clear line without them."""

import hashlib
import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

import train.weights
from pipeline.errors import UserError
from train import backbone
from train.backbones import resnet
from train.config import BACKBONES, Model, known_weights
from train.weights import fetch, local, missing


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


@pytest.mark.parametrize("name", BACKBONES)
def test_sizes_and_channels(name):
    network = backbone.build(Model(backbone=name, init="none"))
    with torch.no_grad():
        features = network.eval()(torch.zeros(1, 3, 224, 224))
    assert [part.shape[-1] for part in features.values()] == [112, 56, 28, 28, 28]
    assert {layer: part.shape[1] for layer, part in features.items()} == network.channels
    last = {id(parameter) for parameter in network.last_stage_parameters()}
    assert last == {id(parameter) for name, parameter in network.named_parameters() if name.startswith("layer4.")}


def test_parameters_of_resnet50_are_those_of_the_published_encoder():
    count = sum(parameter.numel() for parameter in resnet.build("resnet50", None).parameters())
    assert count + 2048 * 7 + 7 == 23_522_375  # spec of the methods, section 1


def test_convolutions_start_with_the_variance_of_he():
    torch.manual_seed(0)
    weight = resnet.build("resnet18", None).layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_every_known_backbone_is_listed():
    assert set(BACKBONES) == set(resnet.DESIGNS)


@pytest.mark.parametrize(
    ("name", "first"), [("resnet10t", 1), ("convnext_atto", 2), ("mobilenetv3_small_050", 1), ("regnetx_002", 1)]
)
def test_timm_features_are_those_of_features_only(name, first):
    torch.manual_seed(0)
    reference = timm.create_model(name, features_only=True).eval()
    torch.manual_seed(0)
    network = backbone.build(Model(backbone=f"timm/{name}", init="none")).eval()
    values = dict(network.named_parameters())
    renamed = {key.replace(".", "_"): value for key, value in values.items()}
    with torch.no_grad():
        for key, value in reference.named_parameters():
            value.copy_(renamed["network_" + key.replace(".", "_")])
        images = torch.randn(1, 3, 96, 96)
        found, expected = network(images), reference(images)
    assert list(found) == list(range(first, 6))
    for layer, value in zip(found, expected, strict=True):
        torch.testing.assert_close(found[layer], value)
        assert network.channels[layer] == value.shape[1]
    assert network.last_stage_parameters()


def test_timm_gradients_reach_every_parameter():
    network = backbone.build(Model(backbone="timm/resnet10t", init="none"))
    network(torch.randn(2, 3, 64, 64))[5].mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_an_unknown_timm_network_is_refused():
    with pytest.raises(UserError, match=r"timm has no network 'resnet10q'"):
        backbone.build(Model(backbone="timm/resnet10q", init="none"))


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), folder / "resnet18-f37072fd.pth")
    return folder, network


def test_imagenet_weights_come_from_the_folder(torchvision_file):
    folder, network = torchvision_file
    ours = backbone.build(Model(backbone="resnet18", weights=folder))
    assert torch.equal(ours.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    assert torch.equal(ours.bn1.running_var, network.bn1.running_var)


def test_weights_from_a_path_and_none_at_all(torchvision_file):
    folder, network = torchvision_file
    given = backbone.build(Model(backbone="resnet18", init=str(folder / "resnet18-f37072fd.pth")))
    assert torch.equal(given.conv1.weight, network.conv1.weight)
    random = backbone.build(Model(backbone="resnet18", init="imagenet", weights="nowhere"), initialise=False)
    assert not torch.equal(random.conv1.weight, network.conv1.weight)


def test_timm_weights_from_safetensors(tmp_path):
    torch.manual_seed(2)
    reference = timm.create_model("resnet10t")
    (tmp_path / "timm").mkdir()
    save_file(reference.state_dict(), tmp_path / "timm" / "resnet10t.safetensors")
    ours = backbone.build(Model(backbone="timm/resnet10t", weights=tmp_path))
    assert torch.equal(ours.network.layer4[0].conv1.weight, reference.layer4[0].conv1.weight)


def test_a_missing_file_is_named_with_its_address(tmp_path):
    with pytest.raises(UserError) as caught:
        backbone.build(Model(backbone="resnet50", weights=tmp_path))
    for part in (
        str(tmp_path / "resnet50-0676ba61.pth"),
        known_weights()["backbone:resnet50"],
        "snakemake weights",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match=r"model\.init: lost\.pth does not exist"):
        backbone.build(Model(backbone="resnet50", init="lost.pth"))


def test_weights_of_another_network_are_refused_by_tensor(tmp_path, torchvision_file):
    _, network = torchvision_file
    path = tmp_path / "other.pth"
    tensors = network.state_dict()
    torch.save({k: v for k, v in tensors.items() if k != "layer2.0.bn1.bias"}, path)
    with pytest.raises(UserError, match=r"tensor layer2\.0\.bn1\.bias is missing"):
        backbone.build(Model(backbone="resnet18", init=str(path)))
    torch.save({**tensors, "conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(UserError, match=r"conv1\.weight is \(64, 3, 3, 3\) instead of \(64, 3, 7, 7\)"):
        backbone.build(Model(backbone="resnet18", init=str(path)))
    torch.save({**tensors, "head.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"head\.weight has no place"):
        backbone.build(Model(backbone="resnet18", init=str(path)))


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
        backbone.build(Model(backbone="resnet18", init=str(path)))
    path.write_bytes(pickle.dumps(Runs(trace)))
    with pytest.raises(UserError, match=r"evil\.pth"):
        backbone.build(Model(backbone="resnet18", init=str(path)))
    assert not trace.exists()
    for suffix in (".pth", ".safetensors"):
        garbage = tmp_path / f"garbage{suffix}"
        garbage.write_bytes(b"no weights at all")
        with pytest.raises(UserError, match="garbage"):
            backbone.build(Model(backbone="resnet18", init=str(garbage)))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two files on a server of our own (file://), one of which is damaged on the way, and two out of reach."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    server = tmp_path / "server"
    server.mkdir()
    (server / f"good-{digest[:8]}.pth").write_bytes(content)
    (server / "bad-01234567.pth").write_bytes(content)
    urls = {
        "backbone:good": (server / f"good-{digest[:8]}.pth").as_uri(),
        "backbone:bad": (server / "bad-01234567.pth").as_uri(),
        "landmarks:away": "http://127.0.0.1:9/away-01234567.pth",
        "backbone:hub": "http://127.0.0.1:9/model.safetensors",
    }
    monkeypatch.setattr(train.weights, "known_weights", lambda: urls)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return digest


def test_fetch_checks_and_lists_what_it_brings(published, tmp_path):
    folder = tmp_path / "weights"
    assert [item.need for item in missing(["backbone:good"], folder)] == ["backbone:good"]
    fetch(["backbone:good", "backbone:good"], folder)
    assert missing(["backbone:good"], folder) == []
    assert local("backbone:good", folder).read_bytes() == b"weights"
    lines = (folder / "manifest.csv").read_text().splitlines()
    assert lines[0] == "need,file,sha256,url"
    assert lines[1].startswith(f"backbone:good,good-{published[:8]}.pth,{published},file://")
    assert len(lines) == 2


def test_fetch_without_network_lists_every_file_in_one_message(published, tmp_path):
    folder = tmp_path / "weights"
    with pytest.raises(UserError) as caught:
        fetch(["backbone:hub", "backbone:good", "backbone:bad", "landmarks:away"], folder)
    text = str(caught.value)
    assert "\n" not in text
    for name in ("away-01234567.pth", "model.safetensors"):
        assert f"http://127.0.0.1:9/{name} -> {folder / name} (" in text
    for part in ("bad-01234567.pth", "hash"):
        assert part in text
    assert "good" not in text
    assert sorted(path.name for path in folder.iterdir()) == [f"good-{published[:8]}.pth"]


@pytest.mark.parametrize("content", [b"weights", b"cut"])
def test_what_torch_hub_has_is_copied_if_it_is_whole(published, tmp_path, content):
    name = f"good-{published[:8]}.pth"
    cache = tmp_path / "cache" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / name).write_bytes(content)
    if content == b"weights":
        (tmp_path / "server" / name).unlink()
    fetch(["backbone:good"], tmp_path / "weights")
    assert local("backbone:good", tmp_path / "weights").read_bytes() == b"weights"
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == [name, "manifest.csv"]


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hugging Face hub does: a renamed network, then the hash on the way to the file."""

    stated = ""

    def do_GET(self):
        moved = {"/old.safetensors": "/model.safetensors", "/model.safetensors": "/file"}.get(self.path)
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", moved)
        if moved == "/file":
            self.send_header("X-Linked-ETag", f'"{self.stated}"')
        self.send_header("ETag", '"of another kind"')
        self.send_header("Content-Length", "0" if moved else "7")
        self.end_headers()
        if not moved and self.command == "GET":
            self.wfile.write(b"weights")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("stated", ["right", "0" * 64, ""])
def test_files_of_the_hub_are_checked_against_what_it_states(published, tmp_path, monkeypatch, stated):
    monkeypatch.setattr(Hub, "stated", published if stated == "right" else stated)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/old.safetensors"
        monkeypatch.setattr(train.weights, "known_weights", lambda: {"backbone:hub": address})
        if stated == "right":
            fetch(["backbone:hub"], tmp_path / "weights")
            assert (tmp_path / "weights" / "old.safetensors").read_bytes() == b"weights"
        else:
            with pytest.raises(UserError, match="invalid hash" if stated else "states no SHA-256"):
                fetch(["backbone:hub"], tmp_path / "weights")
            assert not list((tmp_path / "weights").iterdir())
        server.shutdown()


def test_a_file_put_there_by_hand_is_checked(published, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "bad-01234567.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"bad-01234567\.pth is damaged"):
        fetch(["backbone:bad"], folder)


def test_an_unknown_need_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no weights 'backbone:resnet5'.*available: .*backbone:resnet50"):
        fetch(["backbone:resnet5"], tmp_path)


def test_nothing_needed_is_fine(tmp_path):
    fetch([], tmp_path)
    assert (tmp_path / "manifest.csv").read_text() == "need,file,sha256,url\n"


def test_timm_weights_have_their_address():
    found = train.weights.find("backbone:timm/resnet10t.c3_in1k")
    assert found.url == "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    assert found.name == "timm/resnet10t.c3_in1k.safetensors"
