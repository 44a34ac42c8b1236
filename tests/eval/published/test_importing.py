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
from eval.published.importing import archive, import_folder
from eval.published.names import METHODS, Arguments, card, tensor_name
from pipeline.errors import UserError
from tests.support import formula
from tests.support.paths import GOLDEN, ROOT
from tests.support.released import published_shapes, write_config, write_model
from train.checkpoints import checkpoint
from train.data.transforms import standardise
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


class TestCard:
    def of(self, folder, method="CAM", **changes):
        return card(Arguments(write_config(folder, method, **changes) / "config_model.yaml"), Path("d/{dataset}"))

    def test_it_holds_what_the_config_says(self, tmp_path):
        made = self.of(tmp_path, align_atten_to_heatmap_layers="'5-4-3'", dataset="AffectNet")
        assert (made.dataset, made.method, made.variant, made.seed) == ("affectnet", "cam", "au", 3)
        assert made.data.folder == Path("d/affectnet")
        assert made.guidance.model_dump() == {
            "weight": 9.0, "layers": (5, 4, 3), "reduction": "mean", "resize": "published",
        }  # fmt: skip
        assert made.protocol == "paper"
        training = made.training
        assert (training.epochs, training.batch_size, training.evaluation_batch_size) == (100, 32, 64)
        assert (training.learning_rate, training.head_lr_ratio, training.weight_decay) == (0.002, 10.0, 0.0005)
        assert (training.step_size, training.gamma, training.momentum, training.nesterov) == (40, 0.1, 0.9, True)
        assert (training.augmentation, training.amp, training.clip_norm) == ("published", "fp16", 0.0)

    @pytest.mark.parametrize(("method", "layer"), [("CAM", 5), ("CutMIX", 4), ("TSCAM", 1), ("APVIT", 1)])
    def test_without_alignment_the_layer_is_that_of_the_published_evaluation(self, method, layer, tmp_path):
        made = self.of(tmp_path, method, align_atten_to_heatmap="false")
        assert (made.variant, made.guidance.weight, made.guidance.layers) == ("plain", 0.0, (layer,))

    @pytest.mark.parametrize(
        ("method", "options"),
        [
            ("WILDCAT", {"mode": "published", "maps": 5, "kmax": 0.5, "kmin": 0.1, "alpha": 0.6}),
            ("PRM", {"mode": "published", "window": 3}),
            ("ACoL", {"mode": "published", "threshold": 0.1}),
            ("ADL", {"mode": "published", "drop_rate": 0.4, "threshold": 0.1}),
            ("CutMIX", {"beta": 1.0, "prob": 1.0}),
            ("GradCAMpp", {"mode": "published"}),
            ("APVIT", {"mode": "published", "keep": 160, "rate": 0.9}),
            ("LayerCAM", {}),
        ],
    )
    def test_options_are_read_from_the_config(self, method, options, tmp_path):
        assert self.of(tmp_path, method, align_atten_to_heatmap="false").model.options == options

    def test_network_and_size_follow_the_method(self, tmp_path):
        for method, backbone, size in (("CAM", "resnet50", 224), ("TSCAM", "deit_small", 224), ("APVIT", "ir50", 112)):
            model = self.of(tmp_path, method, align_atten_to_heatmap="false").model
            assert (model.backbone, model.image_size, model.init) == (backbone, size, "none")

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            ("imagenet", [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (1.0 - 0.406) / 0.225]),
            ("null", [0.2, 0.4, 1.0]),
            ("VGGFace2", [51 - 131.0912, 102 - 103.8827, 255 - 91.4953]),
        ],
    )
    def test_the_first_weights_decide_how_pixels_are_scaled(self, weights, expected, tmp_path):
        kind = self.of(tmp_path, encoder_weights=weights).model.normalisation
        pixel = torch.tensor([51.0, 102.0, 255.0])[None, :, None, None] / 255
        np.testing.assert_allclose(standardise(pixel, kind).flatten(), expected, atol=1e-4)

    @pytest.mark.parametrize(
        ("method", "changes", "said"),
        [
            ("CAMM", {}, "method is 'CAMM'"),
            ("CAM", {"dataset": "FER"}, "dataset is 'FER'"),
            ("CAM", {"dense_dims": "512-128"}, "dense_dims is '512-128'; only ''"),
            ("CAM", {"support_background": "true"}, "model.support_background is True"),
            ("CAM", {"scale_in": "2.0"}, "model.scale_in is 2.0"),
            (
                "GradCam",
                {"spatial_pooling": "ACOL"},
                "spatial_pooling is 'ACOL'; only 'WGAP' can be imported for GradCam",
            ),
            ("APVIT", {"encoder_name": "resnet50"}, "model.encoder_name is 'resnet50'; only 'apvit' can be imported"),
            ("CAM", {"num_classes": "8"}, "num_classes is 8"),
            ("CAM", {"encoder_weights": "MS1M"}, "model.encoder_weights is 'MS1M'"),
            ("CAM", {"align_atten_to_heatmap_layers": "'5-x'"}, "guidance.layers"),
            ("CAM", {"align_atten_to_heatmap_layers": "'7'"}, "guidance.layers"),
            ("PRM", {"prm_st": "2"}, "prm_st is 2; only 1"),
            ("APVIT", {"apvit_attn_method": "LA"}, "model.apvit_attn_method is 'LA'; only 'SUM_ABS_1'"),
            ("APVIT", {"apvit_apply_self_att": "true"}, "model.apvit_apply_self_att is True"),
        ],
    )
    def test_what_has_no_formula_here_is_refused_by_name(self, method, changes, said, tmp_path):
        with pytest.raises(UserError) as caught:
            self.of(tmp_path, method, **changes)
        assert said in str(caught.value)
        assert "config_model.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_key_is_named(self, tmp_path):
        path = write_config(tmp_path, "CAM") / "config_model.yaml"
        path.write_text(path.read_text().replace("  opt__lr: 0.002\n", ""))
        with pytest.raises(UserError, match=r"config_model.yaml has no key optimizer.opt__lr$"):
            card(Arguments(path), Path("d"))


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
        Arguments(config)
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
