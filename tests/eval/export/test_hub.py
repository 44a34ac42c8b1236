"""Exported folders hold the same network and name no place on this machine."""

import json

import pytest
import torch

from eval.export.export import export
from eval.export.hub import CONFIG, MODEL, README, load_hub
from pipeline.errors import UserError
from tests.support.family import FAMILY
from tests.support.paths import private_paths
from train.checkpoints import checkpoint
from train.data.prepared import Prepared, part_rows


@pytest.mark.parametrize("name", FAMILY)
def test_a_hub_folder_gives_the_same_network(name, trained, tmp_path):
    path = trained(name)
    export(path, hub=tmp_path / "hub")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
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
            assert not [path for path in private_paths(tmp_path, prepared_folder) if path in file.read_bytes()], file
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
