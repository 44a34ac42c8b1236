"""What stops a workflow before any job, and what it says."""

import json

import pytest

from tests.support.tiny import CONFIG, planned, snakemake
from workflow.config import RESERVED, parse
from workflow.results import PICTURES, Results

pytestmark = pytest.mark.slow


@pytest.fixture
def real():
    """A config whose dataset is not there."""
    config = json.loads(json.dumps(CONFIG))
    config["datasets"] = {"rafdb": {"source": "rafdb", "root": "nowhere/RAF-DB", "extractor": "dlib"}}
    config["experiments"] = {"table1": {"datasets": ["rafdb"], "methods": ["cam"]}}
    return config


def test_a_missing_dataset_stops_before_any_job(tmp_path, real):
    done = snakemake(tmp_path, config=real)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    for part in ("rafdb", "nowhere/RAF-DB", "datasets.rafdb.root", "whdeng.cn", "list_patition_label.txt", "make demo"):
        assert part in text
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_targets_that_need_no_data_work_without_it(tmp_path, real):
    done = snakemake(tmp_path, "--dry-run", "weights", config=real)
    assert done.returncode == 0, done.stdout + done.stderr


def test_missing_weights_stop_before_any_job(tmp_path):
    apvit = {"model": {"backbone": "ir50", "init": "ms1m", "options": {"vit_weights": "mine.pth"}}}
    config = CONFIG | {"methods": {"apvit": apvit | {"guidance": {"layers": [1]}}}}
    config["experiments"] = {"table1": {"datasets": ["faces"], "methods": ["apvit"]}}
    done = snakemake(tmp_path, config=config)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    for part in ("apvit: model.init: weights/backbone_ir50_ms1m_epoch120.pth is missing: download", "face.evoLVe"):
        assert part in text
    assert (
        "apvit: model.options.vit_weights: mine.pth does not exist; give imagenet, none or the path of a file" in text
    )
    assert "MissingInputException" not in text
    assert not (tmp_path / "out").exists()
    assert snakemake(tmp_path, "--dry-run", "faces", config=config).returncode == 0
    (tmp_path / "weights").mkdir()
    for file in ("weights/backbone_ir50_ms1m_epoch120.pth", "mine.pth"):
        (tmp_path / file).touch()
    assert planned(tmp_path, "train", config=config)["train_run"] == 2


def test_a_misspelt_config_is_one_line(tmp_path, real):
    real["trainig"] = {}
    done = snakemake(tmp_path, "--dry-run", config=real)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "trainig" in line]
    assert done.returncode != 0
    assert len(lines) == 1
    assert "did you mean 'training'?" in lines[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_reserved_names_are_the_rules(tmp_path):
    done = snakemake(tmp_path, "--list-rules")
    listed = {line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith((" ", "\t"))}
    assert listed - set(Results(parse(CONFIG)).targets()) | set(PICTURES) == RESERVED
