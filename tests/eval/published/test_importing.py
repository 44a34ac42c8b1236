"""The authors' checkpoints: folders in their form, filled by a formula, answer here what the published code answered.

golden/published.npz holds its answers, thinned out: every fourth (or second) pixel of maps, eight gradient norms.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

from au_guidance.expressions import Expression
from au_guidance.loss import attention, au_loss
from eval.metrics import classification
from eval.published.config import ReleasedConfig
from eval.published.importing import archive, import_folder
from eval.published.methods import METHODS, tensor_name
from pipeline.errors import UserError
from tests.support import formula
from tests.support.paths import GOLDEN, ROOT
from tests.support.released import published_shapes, write_config, write_model
from train.checkpoints import checkpoint
from train.methods.base import Batch


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "published.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Make the folder of a method; methods with the same tensors share a file."""
    folder = tmp_path_factory.mktemp("released")
    files = {}

    def make(method, **changes):
        made = write_config(folder / f"{method}-{len(list(folder.iterdir()))}", method, **changes)
        kind = METHODS[method].tensors
        if kind not in files:
            write_model(made)
            files[kind] = made / "model.pt"
        else:
            os.link(files[kind], made / "model.pt")
        return made

    yield make
    shutil.rmtree(folder)


def loaded(folder):
    out = folder / "checkpoint.safetensors"
    import_folder(folder, out)
    found = checkpoint.load(out)
    out.unlink()
    return found


def thin(maps):
    step = maps.shape[-1] // 7
    return maps.detach()[:, ::step, ::step]


@pytest.mark.parametrize("method", METHODS)
def test_a_released_network_answers_as_the_published_code(method, released, golden):
    found = loaded(released(method))
    expected = {name.partition("/")[2]: value for name, value in golden.items() if name.startswith(f"{method}/")}
    size, classes = found.card.model.image_size, torch.tensor([2, 5])
    images, heatmaps = torch.from_numpy(formula.images(size)), torch.from_numpy(formula.heatmaps(size))
    with torch.set_grad_enabled(found.method.needs_gradient):
        output = found.method(images)
        cam = found.method.cam(output, classes)
    layer = int(expected["att_layer"])
    np.testing.assert_allclose(output.logits.detach(), expected["logits"], atol=1e-4)
    within = 1e-4 * max(1, np.ptp(expected["att"]))  # see tests/support/oracle.py
    np.testing.assert_allclose(thin(attention(output.features[layer])), expected["att"], atol=within)
    np.testing.assert_allclose(thin(cam), expected["cam_raw"], atol=1e-4 * np.ptp(expected["cam_raw"]))
    np.testing.assert_allclose(thin(classification.normalise(cam)), expected["cam_norm"], atol=1e-3)
    maps = [attention(value.detach()) for value in (images, *output.features.values())]
    canvases = [classification.attention_canvas(one, size, found.card.guidance.resize) for one in maps]
    canvases.append(classification.cam_canvas(classification.normalise(cam), size))
    cosines = np.stack([classification.map_cosine(one, heatmaps) for one in canvases], 1)
    np.testing.assert_allclose(cosines, expected["cosines_layers_then_cam"], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_losses_and_gradients_are_those_of_the_published_code(method, released, golden):
    found = loaded(released(method))
    size, guidance = found.card.model.image_size, found.card.guidance
    images, heatmaps = torch.from_numpy(formula.images(size)), torch.from_numpy(formula.heatmaps(size))
    batch = Batch(images, torch.eye(7)[[2, 5]], heatmaps, torch.ones(2, dtype=torch.bool))
    output = found.method(images, batch.target)
    classified = found.method.classification_loss(output, batch.target)
    how = {"reduction": guidance.reduction, "resize_mode": guidance.resize}
    aligned = guidance.weight * au_loss(output.features, batch.heatmaps, batch.valid, layers=guidance.layers, **how)
    (classified + aligned).backward()
    assert classified.item() == pytest.approx(golden[f"{method}/loss_ce"].item(), rel=1e-3)
    assert aligned.item() == pytest.approx(golden[f"{method}/loss_align_weighted"].item(), rel=1e-3)
    norms = {
        tensor_name(METHODS[method], name): -1.0 if value.grad is None else value.grad.norm().item()
        for name, value in found.method.named_parameters()
    }
    wanted = dict(zip(golden[f"{method}/grad_names"].tolist(), golden[f"{method}/grad_norms"].tolist(), strict=True))
    assert {name: norms[name] for name in wanted} == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_tensors_are_called_as_in_the_archive(method, shared, tmp_path):
    keys = json.loads((shared / "oracle" / "keys" / f"{method}.json").read_text())
    assert published_shapes(write_config(tmp_path, method)) == {name: tuple(shape) for name, shape in keys.items()}


def test_small_maps_are_the_network_of_torchvision(released):
    folder = released("CAM", large_maps="false")
    reference = torchvision.models.resnet50()
    groups = torch.load(folder / "model.pt", weights_only=True)
    reference.fc = torch.nn.Linear(2048, 7)
    head = {f"fc.{name.removeprefix('fc.')}": value for name, value in groups["classification_head"].items()}
    reference.load_state_dict({**groups["encoder"], **head})
    images = torch.from_numpy(formula.images(112))
    found = loaded(folder)
    with torch.no_grad():
        output = found.method(images)
        torch.testing.assert_close(output.logits, reference.eval()(images), rtol=1e-4, atol=1e-4)
    assert output.features[5].shape[-1] == 4


class Trap:
    """Pickled, it would make a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_a_folder_is_executed(tmp_path):
    folder, sprung = write_config(tmp_path / "a", "CAM"), tmp_path / "sprung"
    for content in ({"encoder": Trap(sprung)}, Trap(sprung)):
        torch.save(content, folder / "model.pt")
        with pytest.raises(UserError, match=r"model.pt is not a plain file of weights"):
            import_folder(folder, tmp_path / "out.safetensors")
    (folder / "model.pt").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    with pytest.raises(UserError, match=r"model.pt is not a"):
        import_folder(folder, tmp_path / "out.safetensors")
    config = folder / "config_model.yaml"
    config.write_text(f"{config.read_text()}\ntrap: !!python/object/apply:os.mkdir ['{sprung}']\n")
    with pytest.raises(UserError, match=r"config_model.yaml is not .*python/object"):
        ReleasedConfig(config)
    assert not sprung.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_checkpoint_says_where_it_comes_from(released, tmp_path):
    folder = released("CAM", best_epoch="17")
    out = tmp_path / "best.pt"  # an imported checkpoint may have any name
    import_folder(folder, out, Path("prepared"))
    found = checkpoint.load(out)
    assert found.labels == [expression.label for expression in Expression]
    assert found.scores == {"best_epoch": 17}
    assert found.card.data.folder == Path("prepared")
    assert not found.method.training
    assert found.meta["published"]["config"]["data_paths"] == {"test": "/data/RAF-DB"}
    assert found.meta["preprocessing"]["alignment"] == {"size": 224, "detector": "mtcnn", "mode": "published"}


def test_tensors_that_do_not_fit_are_named(released, tmp_path):
    folder = released("CAM")
    groups = torch.load(folder / "model.pt", weights_only=True)
    out, head = tmp_path / "c.safetensors", groups["classification_head"]
    other = write_config(tmp_path / "other", "WILDCAT")
    torch.save(groups, other / "model.pt")
    with pytest.raises(UserError, match=r"classification_head.to_modalities.weight is missing .*wildcat\)$"):
        import_folder(other, out)
    write_config(other, "CAM")
    cases = [
        ({**groups, "segmentation_head": {"0.weight": torch.zeros(1)}}, r"segmentation_head.0.weight has no place"),
        (
            {"encoder": groups["encoder"], "classification_head": {**head, "fc.bias": torch.zeros(8)}},
            r"fc.bias is \(8,\)",
        ),
        ({"encoder": groups["encoder"]}, r"classification_head.fc.weight is missing"),
        ({"encoder": {"conv1.weight": 1}}, "does not hold named tensors"),
        ([1], "does not hold named tensors"),
    ]
    for content, said in cases:
        torch.save(content, other / "model.pt")
        with pytest.raises(UserError, match=said):
            import_folder(other, out)
    (other / "model.pt").unlink()
    with pytest.raises(UserError, match=r"model.pt does not exist"):
        import_folder(other, out)
    assert not out.exists()


def test_the_archive_has_44_places():
    places = list(archive(Path("root")))
    assert len({place.folder for place in places}) == len({place.checkpoint for place in places}) == 44
    assert str(places[1].folder) == (
        "root/FG_FER/RAF-DB/resnet50/STD_CL/CAM/align_atten_to_heatmap_True/RAF-DB-resnet50-CAM-WGAP-cp_best-boxv2_False"
    )
    assert {place.folder.parents[3].name for place in places} == {
        "resnet50", "deit_tscam_small_patch16_224", "apvit",
    }  # fmt: skip


def test_all_goes_past_what_is_broken(released, tmp_path):
    places = {place[:3]: place for place in archive(tmp_path / "root")}
    good = {("rafdb", "cam", "au"): "CAM", ("rafdb", "layercam", "au"): "GradCam", ("rafdb", "cutmix", "au"): "CutMIX"}
    for key, method in good.items():
        folder = released(method)
        places[key].folder.mkdir(parents=True)
        for file in folder.iterdir():
            os.link(file, places[key].folder / file.name)
    broken = places["rafdb", "cutmix", "au"]
    (broken.folder / "model.pt").unlink()
    (broken.folder / "model.pt").write_bytes(b"PK\3\4 cut off")
    out = tmp_path / "out"
    (out / broken.checkpoint).parent.mkdir(parents=True)
    (out / broken.checkpoint).write_bytes(b"of an earlier call")
    done = all_of(tmp_path / "root", out)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: of 44 checkpoints 41 missing, 2 failed, 1 imported")
    report = pd.read_csv(out / "import.csv", keep_default_na=False).set_index(["dataset", "method", "variant"])
    assert report["status"].value_counts().to_dict() == {"missing": 41, "failed": 2, "imported": 1}
    assert "the method is gradcam, in a folder of layercam" in report.loc[("rafdb", "layercam", "au"), "problem"]
    assert "model.pt is not a" in report.loc[("rafdb", "cutmix", "au"), "problem"]
    assert [path.relative_to(out) for path in out.rglob("*.safetensors")] == [places["rafdb", "cam", "au"].checkpoint]
    assert checkpoint.read_metadata(out / "rafdb/cam/au/checkpoint.safetensors")["card"]["method"] == "cam"


def all_of(root, out, *more):
    command = [sys.executable, "-m", "eval.published", "--all", root, "--out", out, *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_folder_that_is_no_archive_is_refused(tmp_path):
    done = all_of(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "has no folder FG_FER" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
