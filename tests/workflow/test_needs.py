"""What is not there is found when the config is read, with where to get it."""

import subprocess
import sys

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.tiny import CONFIG
from train.card.checks import write_card
from workflow.config import parse
from workflow.grid import card, grid
from workflow.needs import is_prepared, missing, missing_weights


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def starting_from(path, **changes):
    return parse(CONFIG | {"model": CONFIG["model"] | {"init": path}} | changes)


def test_nothing_is_missing_for_drawn_faces():
    assert missing(parse(CONFIG)) == []


def test_the_shipped_config_names_both_datasets_and_the_file_to_fetch_by_hand(paper):
    rafdb, affectnet, ms1m = missing(paper)
    assert rafdb.startswith("The dataset 'rafdb' (source 'rafdb') is not at datasets/RAF-DB.")
    assert "whdeng.cn" in rafdb
    assert affectnet.startswith("The dataset 'affectnet'")
    assert "mohammadmahoor.com" in affectnet
    assert ms1m.startswith("apvit: model.init: weights/backbone_ir50_ms1m_epoch120.pth is missing: download that file")


def test_a_start_that_is_no_file_is_named_and_one_that_is_made_is_not(tmp_path):
    assert missing(starting_from("nowhere/start.pth")) == [
        "cam: model.init: nowhere/start.pth does not exist; give imagenet, none or the path of a file with weights"
    ]
    (tmp_path / "start.pth").touch()
    assert missing(starting_from("start.pth")) == []
    folder = "out/runs/heldout/faces/cam"
    assert (
        missing(starting_from(f"{folder}/plain/seed7/last.safetensors")) == []
    )  # any run is made when it is asked for
    for wrong in ("plain/seed0/best.safetensors", "planar/seed0/last.safetensors"):
        assert len(missing(starting_from(f"{folder}/{wrong}"))) == 1


def test_a_finished_run_needs_its_start_no_more_but_a_changed_one_does(tmp_path):
    config = starting_from("gone.pth")
    run = grid(config)[0]
    folder = tmp_path / "out" / "runs" / run.folder
    folder.mkdir(parents=True)
    write_card(card(config, run), folder / "run.yaml")
    (folder / "checkpoint.safetensors").touch()
    assert missing_weights(config, run) == []
    assert len(missing_weights(starting_from("wrong.pth"), run)) == 1
    (folder / "checkpoint.safetensors").unlink()
    assert len(missing_weights(config, run)) == 1


def test_files_of_detectors_and_extractors_are_named_until_their_stage_is_done(tmp_path):
    faces = {"source": "folder", "root": "pictures", "detector": "dlib", "extractor": "dlib", "shards": 1}
    faces |= {"detector_options": {"weights": "d.dat"}, "extractor_options": {"weights": "e.dat"}}
    config = parse(CONFIG | {"datasets": {"faces": faces}})
    assert missing(config)[0].startswith("The dataset 'faces' (source 'folder') is not at pictures.")
    (tmp_path / "pictures").mkdir()
    extractor = "datasets.faces.extractor_options.weights: e.dat does not exist"
    assert missing(config) == ["datasets.faces.detector_options.weights: d.dat does not exist", extractor]
    data = tmp_path / "out" / "data" / "faces"
    for file in ("index.csv", "faces/0.h5"):
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).touch()
    assert is_prepared(config, "faces", "faces")
    assert missing(config) == [extractor]


def test_the_command_lists_what_is_needed_after_the_runs_and_succeeds(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | {"model": CONFIG["model"] | {"init": "my.pth"}}))
    command = [sys.executable, "-m", "workflow.config", str(tmp_path / "tiny.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "table1: 2 runs\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("needed: cam: model.init: my.pth does not exist")
