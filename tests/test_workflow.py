"""The DAG on a tiny synthetic dataset: it makes every table, and afterwards only what changed is made again."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from eval.predictions import read
from pipeline import shards
from pipeline.errors import UserError
from train import checkpoint
from train.share import share
from workflow.config import RESERVED, parse
from workflow.fingerprint import fingerprint
from workflow.results import PICTURES, Results

ROOT = Path(__file__).parents[1]
CONFIG = {
    "results": "out",
    "model": {"backbone": "resnet18_half", "init": "none", "image_size": 64},
    "training": {"epochs": 1, "batch_size": 16, "learning_rate": 0.01, "step_size": 1, "gamma": 0.5},
    "guidance": {"weight": 5},
    "datasets": {
        "faces": {
            "source": "synthetic",
            "generate": {"identities_train": 4, "identities_test": 2, "size": 128},
            "extractor": "dlib",
            "crop": 64,
            "shards": 2,
        }
    },
    "experiments": {
        "table1": {"datasets": ["faces"], "methods": ["cam"]},
        "lambda": {"datasets": ["faces"], "methods": ["cam"], "weights": [5]},
    },
}


def snakemake(folder, *arguments, config=CONFIG):
    """Run snakemake in `folder`; return the finished process."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--configfile", folder / "tiny.yaml", "--cores", "2", *arguments]
    hidden = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment |= {"OMP_WAIT_POLICY": "passive"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


def planned(folder, *arguments, config=CONFIG):
    """Count the jobs that a dry run would do, by rule."""
    done = snakemake(folder, "--dry-run", *arguments, config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    if "Nothing to be done" in text:
        return {}
    rows = text.split("Job stats:")[1].splitlines()[3:]
    counts = {}
    for row in rows:
        if not row.strip() or row.startswith("total"):
            break
        rule, count = row.split()
        counts[rule] = int(count)
    return {rule: count for rule, count in counts.items() if rule not in ("all", "landmarks", "table1", "lambda")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workflow")
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "specific profile profiles/default" in done.stdout + done.stderr
    return folder


@pytest.mark.slow
class TestFinished:
    def test_the_tables_are_there(self, finished):
        table = pd.read_csv(finished / "out" / "tables" / "table1.csv")
        assert set(table["variant"]) == {"plain", "au"}
        assert table["value"].notna().all()
        for name in ("table1.md", "table1.tex", "table2.csv", "lambda.csv", "table1-guidance.csv"):
            assert (finished / "out" / "tables" / name).stat().st_size > 0
        assert list((finished / "out" / "figures").rglob("seed0.png"))
        status = pd.read_csv(finished / "out" / "data" / "faces" / "status.csv")
        assert status["images"].max() == 42

    def test_a_shared_run_is_trained_once(self, finished):
        assert len(list((finished / "out" / "runs").rglob("checkpoint.safetensors"))) == 2

    def test_a_second_call_has_nothing_to_do(self, finished):
        assert planned(finished) == {}

    def test_a_card_written_again_retrains_nothing(self, finished):
        for path in (finished / "out" / "runs").rglob("run.yaml"):
            path.write_text(path.read_text())
        assert planned(finished) == {}

    def test_a_changed_setting_retrains_its_runs_only(self, finished):
        config = json.loads(json.dumps(CONFIG))
        config["training"]["learning_rate"] = 0.02
        assert planned(finished, "train", config=config) == {"train_run": 2, "train": 1}

    def test_a_change_to_the_guided_run_leaves_the_plain_one(self, finished):
        config = json.loads(json.dumps(CONFIG))
        config["guidance"]["weight"] = 7
        assert planned(finished, "train", config=config)["train_run"] == 1

    def test_refreshing_landmarks_leaves_what_came_before(self, finished):
        assert planned(finished, "landmarks", "--forcerun", "landmarks_shard") == {"landmarks_shard": 2, "status": 1}
        stale = planned(finished, "--forcerun", "landmarks_shard")
        assert not stale.keys() & {"generate", "index_dataset", "faces_shard"}
        assert stale["heatmaps_shard"] == 2
        assert stale["train_run"] == 2

    def test_only_a_missing_shard_is_built(self, finished):
        path = finished / "out" / "data" / "faces" / "heatmaps" / "1.h5"
        content = path.read_bytes()
        path.unlink()
        try:
            assert planned(finished, "heatmaps") == {"heatmaps_shard": 1, "heatmaps": 1}
        finally:
            path.write_bytes(content)
            for later in sorted((finished / "out").rglob("*"), key=lambda file: file.stat().st_mtime):
                if later.is_file() and not {"data", "generated"} & set(later.parts):
                    later.touch()

    def test_a_damaged_shard_is_named_and_rebuilt_alone(self, finished):
        path = finished / "out" / "data" / "faces" / "landmarks" / "0.h5"
        before = path.read_bytes()
        path.write_bytes(before[:-100] + bytes(100))
        command = [sys.executable, "-m", "pipeline.status", path.parents[1], "--out", finished / "again"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1
        assert "landmarks/0.h5 is damaged" in done.stderr
        assert planned(finished, "landmarks")["landmarks_shard"] == 1
        assert snakemake(finished, "landmarks").returncode == 0
        assert path.read_bytes() == before
        assert shards.attributes(path)["extractor"] == "dlib"


READINGS = json.loads(json.dumps(CONFIG))
READINGS["experiments"] = {
    "table1": {"datasets": ["faces"], "methods": ["gradcam", "gradcampp", "layercam"], "variants": ["au"]}
}


def trainings(folder, config, *arguments):
    """List the folders of the runs that a dry run would train or, with the run that serves them, take over."""
    done = snakemake(folder, "--dry-run", "train", *arguments, config=config)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    said = re.findall(r"Train (\w+) on faces: (\S+), seed 0 ?(?:--from \S*/(\w+)/\S+)?", text)
    return sorted((method, variant, source) for method, variant, source in said)


@pytest.fixture(scope="module")
def readings(finished):
    """The workflow on top of the finished one, with the methods that read the network of CAM."""
    done = snakemake(finished, config=READINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return finished / "out" / "runs" / "heldout" / "faces"


@pytest.mark.slow
class TestSharing:
    def test_one_training_serves_four_methods(self, tmp_path):
        expected = [("cam", "au-w5-l5", "")] + [
            (name, "au-w5-l5", "cam") for name in ("gradcam", "gradcampp", "layercam")
        ]
        assert trainings(tmp_path, READINGS) == expected

    def test_independent_trains_each(self, tmp_path):
        expected = [(name, "au-w5-l5", "") for name in ("gradcam", "gradcampp", "layercam")]
        assert trainings(tmp_path, READINGS | {"independent": True}) == expected

    def test_other_settings_get_a_training_of_their_own(self, tmp_path):
        config = READINGS | {
            "methods": {
                "gradcam": {"training": {"momentum": 0.5}},
                "gradcampp": {"model": {"options": {"mode": "published"}}},
            }
        }
        assert trainings(tmp_path, config) == [
            ("cam", "au-w5-l5", ""),
            ("gradcam", "au-w5-l5", ""),
            ("gradcampp", "au-w5-l5", "cam"),
            ("layercam", "au-w5-l5", "cam"),
        ]

    def test_the_network_is_the_same_and_the_maps_are_not(self, readings):
        names = ("cam", "gradcam", "gradcampp", "layercam")
        folders = [readings / name / "au-w5-l5" / "seed0" for name in names]
        for file in ("checkpoint.safetensors", "last.safetensors"):
            first, *others = (load_file(folder / file) for folder in folders)
            assert all(other.keys() == first.keys() for other in others)
            assert all(torch.equal(other[key], first[key]) for other in others for key in first)
        assert [checkpoint.load(folder / "checkpoint.safetensors").card.method for folder in folders] == list(names)
        assert len({(folder / "history.csv").read_bytes() for folder in folders}) == 1
        found = [read(folder / "predictions.h5") for folder in folders]
        for one, other in itertools.combinations(found, 2):
            np.testing.assert_array_equal(one.logits, other.logits)
            assert np.abs(one.cam.astype(float) - other.cam).max() > 0.01

    def test_a_second_call_has_nothing_to_do(self, readings, finished):
        assert planned(finished, config=READINGS) == {}

    def test_a_changed_setting_trains_once(self, readings, finished):
        config = READINGS | {"training": CONFIG["training"] | {"learning_rate": 0.02}}
        assert [source for _, _, source in trainings(finished, config)] == ["", "cam", "cam", "cam"]

    def test_a_change_of_its_options_leaves_the_training(self, readings, finished):
        config = READINGS | {"methods": {"gradcampp": {"model": {"options": {"mode": "published"}}}}}
        assert trainings(finished, config) == [("gradcampp", "au-w5-l5", "cam")]

    def test_a_run_is_not_taken_over_by_other_settings(self, readings, tmp_path):
        source = readings / "cam" / "au-w5-l5" / "seed0"
        card = checkpoint.load(source / "checkpoint.safetensors").card
        for changes in ({"method": "cutmix"}, {"method": "gradcam", "seed": 1}):
            with pytest.raises(UserError, match=r"checkpoint\.safetensors was trained with other settings"):
                share(card.model_copy(update=changes), source, tmp_path)
        assert not list(tmp_path.iterdir())


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
    for file in ("weights/backbone_ir50_ms1m_epoch120.pth", "mine.pth"):
        assert file in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
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


def test_fingerprints_ignore_comments(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.fingerprint.ROOT", tmp_path)
    file = tmp_path / "stage.py"

    def of(text):
        file.write_text(text)
        return fingerprint(["stage.py"])

    assert of('"""One."""\nx = 1\n') == of('"""Two."""\nx  =  1  # why\n')
    assert of("x = 1") != of("x = 2")
    assert of("def f():\n    'Doc.'\n    return 1") == of("def f():\n    return 1")


def test_fingerprints_follow_imports_within_eval(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.fingerprint.ROOT", tmp_path)
    for name, text in {
        "eval/first.py": "from eval import second\nfrom train.loop import step",
        "eval/second.py": "from eval.third import number\nimport eval.first",
        "eval/third.py": "number = 1",
        "eval/other.py": "number = 1",
        "train/loop.py": "step = 1",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def changed(name):
        before = fingerprint(["eval/first.py"])
        (tmp_path / name).write_text("number = 2")
        return fingerprint(["eval/first.py"]) != before

    assert [changed(name) for name in ("eval/other.py", "train/loop.py", "eval/third.py", "eval/second.py")] == [
        False,
        False,
        True,
        True,
    ]
    with pytest.raises(FileNotFoundError, match=r"eval/fourth\.py"):
        fingerprint(["eval/fourth.py"])
