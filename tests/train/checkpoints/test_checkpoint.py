"""Checkpoints: the same network comes back, with all that is needed to use it, and nothing is executed."""

import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import UserError
from train.checkpoints import checkpoint
from train.data.prepared import Prepared
from train.methods.base import build_method
from train.weights import checksummed
from train.weights.load import load_weights


@pytest.fixture
def saved(make_card, tmp_path):
    torch.manual_seed(0)
    card = make_card()
    method = build_method(card).to(memory_format=torch.channels_last)
    method(torch.randn(4, 3, 64, 64))  # moves the batch statistics
    prepared = Prepared(card.data.folder, card.heatmap)
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, method.state_dict(), card, prepared, {"validation_accuracy": 0.5})
    return path, card, method.eval(), prepared


def rewrite(path, change):
    meta = checkpoint.read_metadata(path)
    tensors = load_file(path)
    change(meta, tensors)
    checksummed.write(path, tensors, meta)


def test_the_same_network_comes_back(saved):
    path, card, method, _ = saved
    torch.manual_seed(99)
    loaded = checkpoint.load(path)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = method(images), loaded.method(images)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    classes = torch.tensor([1, 2])
    torch.testing.assert_close(loaded.method.cam(found, classes), method.cam(expected, classes), rtol=1e-4, atol=1e-4)
    assert not loaded.method.training
    assert loaded.card == card


def test_a_checkpoint_may_have_any_name_and_be_named_by_text(saved):
    path, card, method, _ = saved
    for name in ("model.pt", "model", "model.pth"):
        other = path.with_name(name)
        shutil.copyfile(path, other)
        loaded = checkpoint.load(str(other))
        assert loaded.card == card
        assert torch.equal(loaded.method.fc.weight, method.fc.weight)
    torch.save(method.state_dict(), path.with_name("plain.pt"))
    with pytest.raises(UserError, match=r"plain\.pt is not a checkpoint"):
        checkpoint.load(path.with_name("plain.pt"))


def test_it_says_what_it_is(saved):
    path, card, _, prepared = saved
    loaded = checkpoint.load(path)
    assert loaded.labels == ["neutral", "happiness", "surprise", "fear", "anger", "disgust", "sadness"]
    assert loaded.scores == {"validation_accuracy": 0.5}
    assert loaded.meta["preprocessing"] == {
        "image_size": 64,
        "normalisation": "imagenet",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "alignment": {"size": 96, "detector": "none", "mode": "similarity"},
    }
    assert loaded.meta["versions"]["torch"] == torch.__version__.split("+")[0]
    assert loaded.meta["commit"]
    assert int(loaded.meta["machine"]["cores"]) >= 1
    assert loaded.meta["data"] == prepared.digest
    assert checkpoint.was_trained_by(path, card, prepared)
    assert not checkpoint.was_trained_by(path, card.model_copy(update={"seed": 1}), prepared)


def test_nothing_half_written_stays(saved):
    assert [path.name for path in saved[0].parent.iterdir()] == ["checkpoint.safetensors"]


def test_pretrained_files_are_not_needed_to_load(saved):
    path = saved[0]
    rewrite(path, lambda meta, tensors: meta["card"]["model"].update(init="/nowhere/weights.pth"))
    assert checkpoint.load(path).card.model.init == "/nowhere/weights.pth"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"lost\.safetensors does not exist"):
        checkpoint.load(tmp_path / "lost.safetensors")


def test_garbage_and_pickles_are_refused(tmp_path, saved):
    path = tmp_path / "garbage.safetensors"
    for content in (b"", b"garbage", pickle.dumps({"a": 1}), saved[0].read_bytes()[:5000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"garbage\.safetensors is not a checkpoint"):
            checkpoint.load(path)


def test_plain_tensors_are_no_checkpoint(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match=r"no checkpoint of this project: it has no checksum"):
        checkpoint.load(tmp_path / "plain.safetensors")


def test_other_labels_are_refused_wherever_a_checkpoint_is_used(saved):
    rewrite(saved[0], lambda meta, tensors: meta["labels"].reverse())
    with pytest.raises(UserError, match=r"labels are sadness, disgust, .* expected neutral, happiness"):
        checkpoint.load(saved[0])


def test_a_network_that_does_not_fit_is_named_by_tensor(saved):
    path = saved[0]
    rewrite(path, lambda meta, tensors: tensors.pop("fc.bias"))
    with pytest.raises(UserError, match=r"tensor fc\.bias is missing"):
        checkpoint.load(path)


def test_a_card_of_another_version_is_named_by_key(saved):
    path = saved[0]
    rewrite(path, lambda meta, tensors: meta["card"]["training"].update(new_key=1))
    with pytest.raises(UserError, match=r"made by another version: training.*new_key"):
        checkpoint.load(path)


def test_outside_a_repository_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "ROOT", tmp_path)
    assert checkpoint.commit() == "unknown"


def test_every_flipped_byte_is_caught(tmp_path):
    """Of header, numbers and padding: a small file of the same kind, each byte in turn."""
    path = tmp_path / "small.safetensors"
    checksummed.write(path, {"w": torch.arange(5.0)}, {"card": {"a": 1}, "labels": ["x"]})
    assert checkpoint.read_metadata(path) == {"card": {"a": 1}, "labels": ["x"]}
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UserError, match=r"small\.safetensors is (damaged|not a checkpoint|no checkpoint)"):
            checkpoint.read_metadata(path)


def test_a_damaged_start_is_refused(saved):
    path = saved[0]
    network = build_method(saved[1])
    load_weights(network.backbone, path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        load_weights(network.backbone, path)
