"""Exported networks give PyTorch's values, and their model card says what was measured and nothing else."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import f1_score
from torch import nn

from au_guidance.loss import attention
from eval.export import onnx
from eval.export.__main__ import main
from eval.export.export import CONFIG, MODEL, README, export, load_hub, public
from eval.export.onnx import Answers, check, random_images, write_onnx
from eval.export.scores import macro_f1_interval
from eval.predict import predict
from eval.score import write_scores
from pipeline.errors import UserError, run
from tests.support.paths import ROOT
from tests.train.methods.test_contract import FAMILY, noisy
from train.card.options import method_options
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Loaded
from train.data.prepared import Prepared, part_rows
from train.methods.base import Method, Output, build_method

runtime = pytest.importorskip("onnxruntime")
SIDE = 64
WITH_CAM = {"acol", "adl", "cam", "cutmix", "tscam", "wildcat"}  # apvit has none, the others' need gradients
OF_CAM = ("cutmix", "gradcampp", "layercam")  # the network of cam, so that its file serves them
CASES = [*((name, "original") for name in FAMILY if name not in OF_CAM), ("apvit", "published"), ("prm", "published")]


@pytest.fixture
def trained(make_card, tmp_path):
    """Write the checkpoint of a method with random weights; return its path."""

    def make(name="cam", mode="original", **changes):
        changes = FAMILY[name] | changes
        if "mode" in method_options(name):
            changes["model__options"] = {**changes.get("model__options", {}), "mode": mode}
        card = make_card(method=name, **changes)
        torch.manual_seed(1)
        method = noisy(build_method(card, initialise=False))
        path = tmp_path / "run" / "checkpoint.safetensors"
        checkpoint.save(path, method.state_dict(), card, Prepared(card.data.folder, card.heatmap), {"temperature": 1.5})
        return path

    return make


@pytest.fixture
def scored(trained):
    """Write a checkpoint and its scores; return its path."""
    path = trained()
    predict(path, path.with_name("predictions.h5"))
    write_scores(path.with_name("predictions.h5"), path.with_name("scores.json"))
    return path


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def exported(trained, shelf):
    """Write the ONNX file of a method, once; return the checkpoint that it is of and the file."""

    def make(name, mode="original"):
        path, file = trained(name, mode), shelf / f"{name}_{mode}.onnx"
        if not file.exists():
            export(path, onnx=file)
        return path, file

    return make


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


def places(tmp_path, prepared_folder):
    return [str(place).encode() for place in (ROOT, tmp_path.parent, prepared_folder, Path.home(), sys.prefix)]


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
    assert not [place for place in places(tmp_path, prepared_folder) if place in file.read_bytes()]
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


def test_the_command_asks_what_to_write(trained, monkeypatch):
    with pytest.raises(SystemExit, match=r"give --onnx FILE\.onnx, --hub DIR, or both"):
        command(monkeypatch, trained())


@pytest.mark.parametrize("name", FAMILY)
def test_a_hub_folder_gives_the_same_network(name, trained, tmp_path, monkeypatch):
    path = trained(name)
    command(monkeypatch, path, "--hub", tmp_path / "hub")
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    method = load_hub(tmp_path / "hub")
    assert not method.training
    assert torch.equal(method(images).logits, checkpoint.load(path).method(images).logits)
    config = json.loads((tmp_path / "hub" / CONFIG).read_text())
    assert config["method"] == name
    assert config["id2label"]["6"] == "sadness"
    assert config["label2id"]["sadness"] == 6
    card = checkpoint.load(path).card
    assert config["training_faces"] == len(part_rows(Prepared(card.data.folder, card.heatmap), card, "train"))


class TestHubFolder:
    def test_no_place_on_this_machine_is_named(self, trained, tmp_path, prepared_folder):
        init = str(tmp_path / "weights" / "start.pth")
        path = trained(model__init=init, model__weights=str(tmp_path / "weights"))
        export(path, hub=tmp_path / "hub")
        for file in (tmp_path / "hub").iterdir():
            assert not [place for place in places(tmp_path, prepared_folder) if place in file.read_bytes()], file
        card = json.loads((tmp_path / "hub" / CONFIG).read_text())["card"]
        assert (card["model"]["init"], card["model"]["weights"]) == ("start.pth", "weights")
        assert load_hub(tmp_path / "hub").training is False

    def test_is_replaced_if_this_command_wrote_it(self, trained, tmp_path):
        path = trained()
        (tmp_path / "hub").mkdir()
        export(path, hub=tmp_path / "hub")
        (tmp_path / "hub" / README).write_text("old")
        export(path, hub=tmp_path / "hub")
        assert sorted(file.name for file in (tmp_path / "hub").iterdir()) == [README, CONFIG, MODEL]
        assert (tmp_path / "hub" / README).read_text() != "old"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["hub", "run"]

    @pytest.mark.parametrize("name", ["notes.txt", README, CONFIG])
    def test_other_people_s_files_stay(self, name, trained, tmp_path):
        (tmp_path / "hub").mkdir()
        (tmp_path / "hub" / name).write_text("{}")
        with pytest.raises(UserError, match="name a new or empty folder"):
            export(trained(), hub=tmp_path / "hub")
        assert (tmp_path / "hub" / name).read_text() == "{}"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["hub", "run"]

    def test_a_damaged_one_is_one_line(self, trained, tmp_path):
        export(trained(), hub=tmp_path / "hub")
        model = tmp_path / "hub" / MODEL
        content = bytearray(model.read_bytes())
        content[-5] ^= 1
        model.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
            load_hub(tmp_path / "hub")
        model.unlink()
        with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
            load_hub(tmp_path / "hub")
        (tmp_path / "hub" / CONFIG).write_text("{")
        with pytest.raises(UserError, match=r"holds no config\.json"):
            load_hub(tmp_path / "hub")


def card_of(path, tmp_path):
    export(path, hub=tmp_path / "hub")
    return (tmp_path / "hub" / README).read_text()


class TestModelCard:
    def test_holds_the_scores_numbers(self, scored, tmp_path):
        scores, text = json.loads(scored.with_name("scores.json").read_text()), card_of(scored, tmp_path)
        rows = {
            "Accuracy": scores["accuracy"],
            "Balanced accuracy": scores["balanced_accuracy"],
            "Macro F1": scores["macro_f1"],
            "CAM-COS": scores["cam_cosine"],
            "ATT-COS": scores["attention_cosine"]["5"],
        }
        for title, value in rows.items():
            low, high = re.search(rf"^\| {title} \| {value:.3f} \[(\S+), (\S+)\] \|", text, re.MULTILINE).groups()
            assert float(low) <= value + 5e-4
            assert float(high) >= value - 5e-4
        assert f"error {scores['calibration']['ece']:.3f} over" in text
        assert "dividing the logits by 1.5 " in text
        for name, numbers in scores["groups"]["gender"].items():
            assert f"| gender | {name} | {numbers['images']} | {numbers['accuracy']:.3f} [" in text
        assert f"tested on {scores['images']} faces, {scores['images_with_map']} of" in text

    def test_baselines_stand_beside_the_cosines(self, scored, tmp_path):
        path = scored.with_name("scores.json")
        scores = json.loads(path.read_text())
        scores["maps"]["cam"]["baselines"]["class_agnostic"] = 0.7654
        path.write_text(json.dumps(scores))
        assert re.search(r"^\| CAM-COS \| \S+ \[\S+ \S+ \| 0.765 \|", card_of(scored, tmp_path), re.MULTILINE)

    def test_front_matter_is_yaml_of_the_hub(self, scored, tmp_path):
        matter = yaml.safe_load(card_of(scored, tmp_path).split("---\n")[1])
        assert matter["license"] == "other"
        assert matter["license_name"] == "research-only-weights"
        assert matter["pipeline_tag"] == "image-classification"
        (result,) = matter["model-index"][0]["results"]
        accuracy = json.loads(scored.with_name("scores.json").read_text())["accuracy"]
        assert result["metrics"][0] == {"type": "accuracy", "value": accuracy}

    def test_without_scores_says_so_and_has_no_numbers(self, trained, tmp_path):
        text = card_of(trained(), tmp_path)
        for heading in ("Results", "Calibration", "Groups"):
            assert f"## {heading}\n\nnot evaluated\n" in text
        assert not re.search(r"\d\.\d", text)
        assert "model-index" not in text

    def test_without_images_csv_has_no_intervals(self, scored, tmp_path):
        scored.with_name("images.csv").unlink()
        text = card_of(scored, tmp_path)
        accuracy = json.loads(scored.with_name("scores.json").read_text())["accuracy"]
        assert f"| Accuracy | {accuracy:.3f} |" in text
        assert "95 % intervals" not in text

    def test_scores_of_another_checkpoint_are_refused(self, scored, trained, tmp_path):
        trained("wildcat")  # in the same place
        with pytest.raises(UserError, match="scores of another checkpoint"):
            card_of(scored, tmp_path)

    def test_faces_of_other_scores_are_refused(self, scored, tmp_path):
        faces = scored.with_name("images.csv")
        lines = faces.read_text().splitlines(keepends=True)
        faces.write_text("".join(lines[:-1]))
        with pytest.raises(UserError, match=r"does not fit scores.json"):
            card_of(scored, tmp_path)

    @pytest.mark.parametrize(
        ("content", "why"), [("[", "is no scores.json"), ("{}", "holds no accuracy"), ("[]", "no")]
    )
    def test_broken_scores_are_one_line(self, content, why, scored, tmp_path):
        scored.with_name("scores.json").write_text(content)
        with pytest.raises(UserError, match=why):
            card_of(scored, tmp_path)

    def test_says_what_it_is_not_for(self, trained, tmp_path):
        text = card_of(trained(), tmp_path)
        for words in ("Not for diagnosis", "hiring", "not an emotion", "research only", "exclude commercial use"):
            assert words in " ".join(text.split())


def test_macro_f1_interval_is_that_of_resampled_faces():
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(6), [40, 20, 30, 10, 25, 15])  # no face of the seventh class
    said = np.where(rng.random(140) < 0.6, truth, rng.integers(0, 7, 140))
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (truth, said), 1)
    found = macro_f1_interval(confusion)
    labels = np.arange(6)
    assert found.value == pytest.approx(f1_score(truth, said, labels=labels, average="macro"))
    drawn = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(np.flatnonzero(truth == label), (truth == label).sum()) for label in labels])
        drawn.append(f1_score(truth[rows], said[rows], labels=labels, average="macro"))
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)


def test_paths_keep_their_last_name():
    given = {"a": ["/home/ann/x.pth", "C:\\ann\\x.pth", "~/x.pth", "../x.pth", "data/x.pth"], "b": 3, "c": "imagenet"}
    assert public(given) == {"a": ["x.pth"] * 4 + ["data/x.pth"], "b": 3, "c": "imagenet"}
