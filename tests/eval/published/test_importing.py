"""Folders of the authors' checkpoints are imported, and refused in one line where they do not fit."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision

from au_guidance.expressions import Expression
from eval.published.config import ReleasedConfig
from eval.published.importing import archive, import_folder
from pipeline.errors import UserError
from tests.support import formula
from tests.support.paths import ROOT
from tests.support.released import write_config
from train.checkpoints import checkpoint

pytestmark = pytest.mark.slow


def test_small_maps_are_the_network_of_torchvision(released, load_released):
    network = load_released("CAM", large_maps="false")
    reference = torchvision.models.resnet50()
    groups = torch.load(released("CAM") / "model.pt", weights_only=True)
    reference.fc = torch.nn.Linear(2048, 7)
    head = {f"fc.{name.removeprefix('fc.')}": value for name, value in groups["classification_head"].items()}
    reference.load_state_dict({**groups["encoder"], **head})
    images = torch.from_numpy(formula.images(112))
    with torch.no_grad():
        output = network.method(images)
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
