"""Exported networks give PyTorch's values."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from au_guidance.loss import attention
from eval.export import onnx
from eval.export.onnx import Answers, check, random_images, write_onnx
from pipeline.errors import UserError
from tests.support.family import FAMILY
from tests.support.paths import private_paths
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Loaded
from train.methods.base import Method, Output

runtime = pytest.importorskip("onnxruntime")


SIDE = 64


WITH_CAM = {"acol", "adl", "cam", "cutmix", "tscam", "wildcat"}  # apvit has none, the others' need gradients


OF_CAM = ("cutmix", "gradcampp", "layercam")  # the network of cam, so that its file serves them


CASES = [*((name, "original") for name in FAMILY if name not in OF_CAM), ("apvit", "published"), ("prm", "published")]


def peaked(maps):
    return maps / np.abs(maps).max((1, 2), keepdims=True)


def expected(path, images):
    """What PyTorch says, without the code under test."""
    loaded = checkpoint.load(path)
    with torch.no_grad():
        output = loaded.method(images)
        found = {"logits": output.logits, "attention": attention(output.features[max(loaded.card.guidance.layers)])}
        if loaded.card.method in WITH_CAM or loaded.card.model.options.get("mode") == "published":
            found["cam"] = loaded.method.cam(output, output.logits.argmax(1))
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_onnx_gives_what_pytorch_gives(name, mode, exported, tmp_path, prepared_folder):
    path, file = exported(name, mode)
    session = runtime.InferenceSession(file)
    for size in (1, 3, 5):
        images = torch.randn(size, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(size))
        wanted = expected(path, images)
        assert [output.name for output in session.get_outputs()] == list(wanted)
        for output, (kind, value) in zip(session.run(None, {"images": images.numpy()}), wanted.items(), strict=True):
            scale = (lambda maps: maps) if kind == "logits" else peaked
            np.testing.assert_allclose(scale(output), scale(value), rtol=0, atol=1e-3, err_msg=kind)
    assert not [path for path in private_paths(tmp_path, prepared_folder) if path in file.read_bytes()]
    said = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert said["card"]["method"] == name
    assert said["labels"][3] == "fear"
    assert said["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert said["temperature"] == 1.5


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_CAM)
def test_methods_with_the_network_of_cam_share_its_file(name, exported, trained):
    _, file = exported("cam")
    loaded = checkpoint.load(trained(name))
    answers, images = Answers(loaded), random_images(loaded, 3)
    assert answers.names == (("logits", "attention", "cam") if name in WITH_CAM else ("logits", "attention"))
    check(answers, file, [images[:1], images], file)


@pytest.mark.slow
class TestCheck:
    def test_another_network_is_noticed_at_every_batch_size(self, exported):
        path, file = exported("cam")
        answers = Answers(checkpoint.load(path))
        images = random_images(checkpoint.load(path), 3)
        check(answers, file, [images[:1], images], file)
        with torch.no_grad():
            answers.method.fc.bias += 0.002
        for size in (1, 3):
            with pytest.raises(UserError, match=rf"logits differ from PyTorch's by 0.002 \(batch {size}\)"):
                check(answers, file, [images[:size]], file)

    def test_a_file_that_differs_does_not_appear(self, exported, tmp_path, monkeypatch):
        path, file = exported("cam")
        loaded = checkpoint.load(path)
        with torch.no_grad():
            loaded.method.fc.weight[2] *= 2
        graph = SimpleNamespace(all_nodes=list)
        wrong = SimpleNamespace(
            model=SimpleNamespace(metadata_props={}, graph=graph),
            save=lambda out, external_data: shutil.copyfile(file, out),
        )
        monkeypatch.setattr(onnx, "_exported", lambda *given: wrong)
        with pytest.raises(UserError, match="differ from PyTorch"):
            write_onnx(loaded, tmp_path / "new" / "a.onnx", {})
        assert list((tmp_path / "new").iterdir()) == []

    def test_a_file_that_is_no_network_is_one_line(self, trained, tmp_path):
        loaded = checkpoint.load(trained())
        (tmp_path / "a.onnx").write_bytes(b"nothing")
        with pytest.raises(UserError, match="onnxruntime cannot run it") as error:
            check(Answers(loaded), tmp_path / "a.onnx", [random_images(loaded, 1)], tmp_path / "b.onnx")
        assert "\n" not in str(error.value)


class Undecided(Method):
    """A network that chooses by looking at its values, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 7)

    def forward(self, images, target=None):
        logits = self.fc(images.mean((2, 3)))
        if logits.sum() > 0:
            logits = logits * 2
        return Output(logits, {5: images})

    def cam(self, output, classes):
        return None


def test_what_cannot_be_exported_is_one_line(make_card, tmp_path):
    loaded = Loaded(Undecided(), make_card(), [], {}, {})
    with pytest.raises(UserError, match="ONNX cannot express this Undecided") as error:
        write_onnx(loaded, tmp_path / "a.onnx", {})
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
