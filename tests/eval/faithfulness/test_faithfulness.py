import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from eval.faithfulness import measure as module
from eval.faithfulness.measure import Network, faithfulness, map_curves, map_scores, randomisation, region_scores
from eval.faithfulness.sampled import load, sample
from pipeline.errors import UserError
from tests.support.family import FAMILY, MODES, RUNS, noisy
from train.checkpoints import checkpoint
from train.data.prepared import Prepared
from train.data.transforms import evaluation_input
from train.methods.base import Method, Output, build_method

CPU = torch.device("cpu")


class Corner(Method):
    """A network that looks for stripes in the upper left quarter only, and shows it truly or not.

    The logit of class 1 grows with the contrast between neighbours there, from -4 for none to 4 for black on white.
    """

    def __init__(self, true):
        super().__init__()
        self.true = true

    def forward(self, images, target=None):
        quarter = images[:, :, : images.shape[2] // 2, : images.shape[3] // 2]
        contrast = quarter.diff(dim=3).abs().mean((1, 2, 3))
        logits = torch.stack([0 * contrast, 8 * contrast - 4], 1)
        return Output(torch.nn.functional.pad(logits, (0, 5), value=-9.0), {5: images})

    def cam(self, output, classes):
        maps = torch.zeros(len(classes), 4, 4)
        if self.true:
            maps[:, :2, :2] = 1
        else:
            maps[:, 2:, 2:] = 1
        return maps


@pytest.fixture
def trained(make_card, tmp_path):
    """Write the checkpoint of a network with random weights for small images; return its path."""

    def write(**changes):
        card = make_card(model__image_size=32, **changes)
        torch.manual_seed(11)
        method = noisy(build_method(card)).eval()
        checkpoint.save(
            tmp_path / "c.safetensors", method.state_dict(), card, Prepared(card.data.folder, card.heatmap), {}
        )
        return tmp_path / "c.safetensors"

    return write


def network(method, card):
    return Network(SimpleNamespace(method=method, card=card), CPU)


def measured(path, folder, **options):
    faithfulness(path, folder / "f.json", **{"images": 3, **options})
    return json.loads((folder / "f.json").read_text()), pd.read_csv(folder / "f.csv")


@pytest.mark.parametrize("true", [True, False])
def test_a_map_of_what_the_network_sees_beats_random_and_another_does_not(true, make_card):
    card = make_card(model__normalisation="unit")
    faces = load(card, images=14, seed=0)
    faces.images[:] = 0
    faces.images[:, :, :32, :32:2] = 1  # stripes where the network looks
    scores = map_scores(map_curves(network(Corner(true), card), faces, seed=0)["cam"])
    if true:
        assert scores["deletion"] < scores["random_deletion"] - 0.1
        assert scores["insertion"] > scores["random_insertion"] + 0.1
        assert scores["deletion_gain_low"] > 0.1
        assert scores["road"] > 0.5
    else:
        assert scores["deletion"] > scores["random_deletion"] + 0.1
        assert scores["insertion"] < scores["random_insertion"] - 0.1
        assert scores["road"] < 0.1
    assert scores["random_deletion"] == pytest.approx(scores["random_insertion"])


def test_scores_of_maps_by_hand():
    half = {"deletion": [[1, 0.5, 0], [1, 0, 0]], "insertion": [[0, 1, 1], [0, 0.5, 1]]}
    random = {"random_deletion": [[1, 0.5, 0]] * 2, "random_insertion": [[0, 0.5, 1]] * 2}
    road = {"road_morf": [[0.5, 0.1], [0.1, 0.1]], "road_lerf": [[0.9, 0.7], [0.9, 0.9]]}
    scores = map_scores({name: np.array(curve) for name, curve in {**half, **random, **road}.items()})
    expected = {
        "deletion": (0.5 + 0.25) / 2, "insertion": (0.75 + 0.5) / 2, "random_deletion": 0.5, "random_insertion": 0.5,
        "road_morf": 0.2, "road_lerf": 0.85, "road": 0.65, "deletion_gain": 0.125, "insertion_gain": 0.125,
    }  # fmt: skip
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores["deletion_low"] == pytest.approx(0.25)
    assert scores["deletion_high"] == pytest.approx(0.5)


def test_scores_of_regions_by_hand():
    scores = region_scores(np.array([[1, 1, 0, 0, 1], [1, 1, 0, 0.5, 1], [1, 0, 1, 0.5, 0.5], [0, 0, 0, 0, 0.5]]))
    expected = {"full": 0.75, "au_kept": 0.5, "au_removed": 0.25, "random_kept": 0.25, "random_removed": 0.75}
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores["images"] == 4
    assert scores["kept_gain"] == pytest.approx(0.25)
    assert scores["removed_gain"] == pytest.approx(0.5)
    assert scores["full_low"] <= 0.75 <= scores["full_high"]


def test_sample_takes_turns_and_prefers_faces_with_a_map():
    expressions = np.array([0] * 50 + [1] * 3 + [2] * 20)
    has_map = np.arange(73) % 2 == 0
    rows = sample(expressions, has_map, 15, seed=4)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert np.bincount(expressions[rows]).tolist() == [6, 3, 6]
    assert has_map[rows[expressions[rows] != 1]].all()
    assert rows.tolist() == sample(expressions, has_map, 15, seed=4).tolist()
    assert rows.tolist() != sample(expressions, has_map, 15, seed=5).tolist()
    assert sample(expressions, has_map, 1000, seed=4).tolist() == list(range(73))


def test_faces_are_the_test_set_with_its_regions(make_card):
    card = make_card()
    faces, prepared = load(card, images=100, seed=0), Prepared(card.data.folder, card.heatmap)
    assert faces.rows.tolist() == prepared.rows("test").tolist()
    for number, row in enumerate(faces.rows):
        heatmap = prepared.heatmap(row)
        assert faces.valid[number].item() == (heatmap is not None)
        area = 0 if heatmap is None else (heatmap >= 0.5).mean()
        assert faces.regions[number].float().mean().item() == pytest.approx(area, abs=0.01)
    assert faces.with_region().rows.tolist() == faces.rows[faces.valid.numpy()].tolist()
    assert [len(batch.rows) for batch in faces.batches(8, CPU)] == [8, 8, 5]


@pytest.mark.parametrize("kind", ["imagenet", "image", "unit", "vggface2"])
def test_unchanged_faces_get_the_usual_answers_and_maps(kind, make_card):
    card = make_card(model__normalisation=kind)
    torch.manual_seed(0)
    method = build_method(card).eval()
    faces, prepared = load(card, images=5, seed=0), Prepared(card.data.folder, card.heatmap)
    given = torch.stack([evaluation_input(prepared.image(row), 64, kind) for row in faces.rows])
    with torch.no_grad():
        output = method(given)
        asked = network(method, card)
        torch.testing.assert_close(asked(faces.images), output.logits.softmax(1), rtol=1e-3, atol=1e-4)
        classes, maps = asked.explain(faces.images)
        assert classes.tolist() == output.logits.argmax(1).tolist()
        torch.testing.assert_close(maps["cam"], method.cam(output, classes), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(maps["attention"], output.features[5].mean(1), rtol=1e-3, atol=1e-3)


def test_the_precision_is_that_of_the_training(make_card, monkeypatch):
    monkeypatch.setattr("train.hardware._computes", lambda amp: True)
    torch.manual_seed(0)
    method, faces = build_method(make_card()).eval(), load(make_card(), images=5, seed=0)
    exact = network(method, make_card())(faces.images)
    rounded = network(method, make_card(training__amp="bf16"))(faces.images)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0, atol=0.02)


def test_files_agree_and_tell_their_origin(trained, tmp_path):
    path = trained(variant="au", seed=3, guidance__weight=4.0, guidance__layers=[4, 5])
    scores, curves = measured(path, tmp_path)
    origin = {"dataset": "small", "method": "cam", "variant": "au", "weight": 4.0, "layers": [4, 5], "seed": 3}
    assert {key: scores[key] for key in origin} == origin
    loaded = checkpoint.load(path)
    assert (scores["map"], scores["protocol"], scores["card"]) == ("own", "heldout", loaded.card.digest())
    assert (scores["images"], scores["commit"], len(scores["checkpoint"])) == (3, loaded.meta["commit"], 64)
    assert set(scores["maps"]) == {"cam", "attention"} == set(curves["kind"])
    assert curves.columns.tolist() == ["kind", "measure", "step", "fraction", "value"]
    for kind, name in (("cam", "deletion"), ("attention", "insertion"), ("cam", "random_deletion")):
        curve = curves[(curves["kind"] == kind) & (curves["measure"] == name)]
        assert curve["fraction"].tolist() == pytest.approx(np.linspace(0, 1, 11))
        value = np.trapezoid(curve["value"], curve["fraction"])
        assert scores["maps"][kind][name] == pytest.approx(value, abs=1e-5)
    morf = curves[(curves["kind"] == "cam") & (curves["measure"] == "road_morf")]
    assert morf["fraction"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9]
    assert scores["maps"]["cam"]["road_morf"] == pytest.approx(morf["value"].mean(), abs=1e-5)
    assert set(module.REGIONS) < set(scores["regions"])


def test_the_seed_decides_and_the_batch_does_not(trained, tmp_path):
    path = trained()
    first, again, other, batched = (
        measured(path, tmp_path, images=2, **options) for options in ({}, {}, {"seed": 1}, {"batch_size": 1})
    )
    assert first[0] == again[0]
    assert first[1].equals(again[1])
    assert batched[0]["maps"]["cam"] == pytest.approx(first[0]["maps"]["cam"], abs=0.01)
    assert other[0]["maps"]["cam"]["random_deletion"] != first[0]["maps"]["cam"]["random_deletion"]


def test_maps_change_once_what_they_come_from_is_random(make_card):
    card = make_card()
    torch.manual_seed(11)
    faces = load(card, images=12, seed=0)
    stages = randomisation(network(build_method(card).eval(), card), faces.batches(5, CPU), seed=0)
    assert [one["stage"] for one in stages] == ["fc", "layer4", "layer3", "layer2", "layer1", "conv1"]
    assert stages[0]["attention"] == pytest.approx(1)  # it comes from below the logits
    assert all(one["attention"] < 0.999 for one in stages[1:])
    assert all(abs(one["cam"]) < 0.9 for one in stages)
    assert abs(stages[-1]["cam"]) < 0.5


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_every_method_can_be_measured(name, mode, trained, tmp_path):
    changes = dict(FAMILY[name])
    if mode != MODES[0]:
        changes["model__options"] = {**changes.get("model__options", {}), "mode": mode}
    scores, _ = measured(trained(method=name, **changes), tmp_path, images=1)
    has_cam = (name, mode) != ("apvit", "original")
    assert set(scores["maps"]) == ({"cam", "attention"} if has_cam else {"attention"})
    assert scores["randomisation"][-1].keys() == {"stage", *scores["maps"]}
    assert scores["regions"]["images"] > 0


def test_data_may_lie_elsewhere(trained, tmp_path, prepared_folder):
    path = trained()
    here, _ = measured(path, tmp_path)
    meta = checkpoint.read_metadata(path)
    tensors = checkpoint.load(path).method.state_dict()
    card = checkpoint.load(path).card
    moved = card.model_copy(update={"data": card.data.model_copy(update={"folder": tmp_path / "gone"})})
    checkpoint.write(tmp_path / "m.safetensors", tensors, moved, {}, alignment=meta["preprocessing"]["alignment"])
    there, _ = measured(tmp_path / "m.safetensors", tmp_path, data=prepared_folder)
    assert there["maps"] == here["maps"]
    assert there["card"] == moved.digest()


def test_a_network_that_answers_nan_is_refused_and_writes_nothing(trained, tmp_path):
    path = trained()
    loaded = checkpoint.load(path)
    tensors = loaded.method.state_dict()
    tensors["fc.bias"][0] = torch.nan
    alignment = loaded.meta["preprocessing"]["alignment"]
    checkpoint.write(tmp_path / "n.safetensors", tensors, loaded.card, {}, alignment=alignment)
    with pytest.raises(UserError, match="are not finite; train it again"):
        faithfulness(tmp_path / "n.safetensors", tmp_path / "f.json", images=4)
    assert not list(tmp_path.glob("f.*"))


def test_what_cannot_be_measured_is_said(trained, tmp_path, monkeypatch):
    path = trained()
    with pytest.raises(UserError, match="--images"):
        faithfulness(path, tmp_path / "f.json", images=0)
    with pytest.raises(UserError, match="does not exist"):
        faithfulness(tmp_path / "none.safetensors", tmp_path / "f.json")
    monkeypatch.setattr(Prepared, "heatmap", lambda self, row: None)
    with pytest.raises(UserError, match="no sampled test face has an AU heatmap"):
        faithfulness(path, tmp_path / "f.json", images=4)
