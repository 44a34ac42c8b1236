"""Pretrained weights: what is fetched is checked and listed, and one line says what could not be."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import train.weights.fetch
from pipeline.errors import UserError
from train.weights.fetch import fetch, local_weights, missing_weights


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
    monkeypatch.setattr(train.weights.fetch, "known_weights", lambda: urls)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return digest


def test_fetch_checks_and_lists_what_it_brings(published, tmp_path):
    folder = tmp_path / "weights"
    assert [item.need for item in missing_weights(["backbone:good"], folder)] == ["backbone:good"]
    fetch(["backbone:good", "backbone:good"], folder)
    assert missing_weights(["backbone:good"], folder) == []
    assert local_weights("backbone:good", folder).read_bytes() == b"weights"
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
    assert local_weights("backbone:good", tmp_path / "weights").read_bytes() == b"weights"
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
        monkeypatch.setattr(train.weights.fetch, "known_weights", lambda: {"backbone:hub": address})
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
    found = train.weights.fetch.find_weights("backbone:timm/resnet10t.c3_in1k")
    assert found.url == "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    assert found.name == "timm/resnet10t.c3_in1k.safetensors"


def test_weights_that_timm_does_not_publish_are_refused():
    for name in ("resnet10t.nope", "resnet19"):
        with pytest.raises(UserError, match=rf"model\.backbone: timm publishes no weights of '{name}'"):
            train.weights.fetch.find_weights(f"backbone:timm/{name}")
