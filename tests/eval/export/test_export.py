"""The export command: mistakes are one line."""

import json
import sys

import pytest

from eval.export.__main__ import main
from eval.export.export import export, public
from pipeline.errors import UserError, run


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_one_line(package, trained, tmp_path, monkeypatch):
    path = trained()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"the package {package}: uv sync --group export$"):
        export(path, onnx=tmp_path / "a.onnx")


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["eval.export", *map(str, arguments)])
    run(main)


def test_the_command_names_a_damaged_checkpoint_in_one_line(trained, tmp_path, monkeypatch):
    path = trained()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"^error: .*checkpoint.safetensors is damaged[^\n]*$"):
        command(monkeypatch, path, "--hub", tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_the_command_writes_the_folder(trained, tmp_path, monkeypatch):
    command(monkeypatch, trained(), "--hub", tmp_path / "hub")
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["method"] == "cam"


def test_the_command_asks_what_to_write(trained, monkeypatch):
    with pytest.raises(SystemExit, match=r"give --onnx FILE\.onnx, --hub DIR, or both"):
        command(monkeypatch, trained())


def test_paths_keep_their_last_name():
    given = {"a": ["/home/ann/x.pth", "C:\\ann\\x.pth", "~/x.pth", "../x.pth", "data/x.pth"], "b": 3, "c": "imagenet"}
    assert public(given) == {"a": ["x.pth"] * 4 + ["data/x.pth"], "b": 3, "c": "imagenet"}
