"""The DAG on a tiny synthetic dataset: it makes every table, and afterwards only what changed is made again."""

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from eval.records.predictions import read_predictions
from pipeline.errors import UserError
from pipeline.storage import shards
from tests.support.paths import ROOT
from tests.support.tiny import CONFIG, begin, planned, snakemake
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import share


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
        for name in ("table1.md", "table1.tex", "table2.csv", "lambda.csv", "table1-guidance.csv", "lambda-time.csv"):
            assert (finished / "out" / "tables" / name).stat().st_size > 0
        status = pd.read_csv(finished / "out" / "data" / "faces" / "status.csv")
        assert status["images"].max() == 42

    def test_the_figures_are_there_in_three_forms(self, finished):
        folder = finished / "out" / "figures"
        run = "heldout/faces/cam/au-w5-l5"
        for name in (
            "table1/baselines",
            "table1/faithfulness",
            "lambda/lambda",
            "controls/baselines",
            f"{run}/seed0",
            f"{run}-shuffled/seed0",
            f"{run}/seed0/matrices",
            f"{run}/seed0/reliability",
            f"{run}/seed0/panels",
            "heldout/faces/cam/plain/seed0/matrices",
        ):
            assert all((folder / f"{name}{suffix}").stat().st_size > 0 for suffix in (".png", ".pdf", ".csv")), name
        gallery = json.loads((folder / run / "seed0" / "gallery" / "gallery.json").read_text())
        assert len({face["expression"] for face in gallery}) == 7

    def test_a_control_stands_beside_the_au_map(self, finished):
        rows = pd.read_csv(finished / "out" / "tables" / "controls-guidance.csv")
        assert {"plain", "shuffled"} <= set(rows["against"])
        scores = json.loads((finished / "out/runs/heldout/faces/cam/au-w5-l5-shuffled/seed0/scores.json").read_text())
        assert (scores["map"], scores["variant"]) == ("shuffled", "au")
        assert scores["maps"]["cam"]["baselines"]["untrained"] is not None
        grid = json.loads((finished / "out" / "grid.json").read_text())
        assert grid["runs"]["heldout/faces/cam/au-w5-l5-shuffled/seed0"]["card"] == scores["card"]

    def test_a_run_that_several_experiments_share_is_trained_once(self, finished):
        assert len(list((finished / "out" / "runs").rglob("checkpoint.safetensors"))) == 3
        assert not list((finished / "out" / "runs").rglob("untrained.h5"))

    def test_the_report_is_one_page(self, finished):
        page = (finished / "out" / "report.html").read_text()
        assert "shuffled" in page
        assert "data:image" in page

    def test_a_second_call_has_nothing_to_do(self, finished):
        assert planned(finished) == {}

    def test_a_card_written_again_retrains_nothing(self, finished):
        for path in (finished / "out" / "runs").rglob("run.yaml"):
            path.write_text(path.read_text())
        assert planned(finished) == {}

    def test_what_a_killed_call_left_of_another_card_is_made_again(self, finished):
        run = finished / "out/runs/heldout/faces/cam/plain/seed0"
        scores = (run / "scores.json").rename(run / "kept.json")
        card = (run / "run.yaml").read_text()
        (run / "run.yaml").write_text(card.replace("seed: 0", "seed: 9"))
        (run / "untrained.h5").touch()
        os.utime(run / "untrained.h5", (1, 1))
        try:
            assert planned(finished)["predict_untrained"] == 1
        finally:
            (run / "run.yaml").write_text(card)
            (run / "untrained.h5").unlink()
            scores.rename(run / "scores.json")
        assert planned(finished) == {}

    def test_a_changed_setting_retrains_its_runs_only(self, finished):
        config = json.loads(json.dumps(CONFIG))
        config["training"]["learning_rate"] = 0.02
        assert planned(finished, "train", config=config) == {"train_run": 3, "train": 1}

    def test_a_change_to_the_guided_run_leaves_the_plain_one(self, finished):
        config = json.loads(json.dumps(CONFIG))
        config["guidance"]["weight"] = 7
        assert planned(finished, "train", config=config)["train_run"] == 2  # with its control

    def test_refreshing_landmarks_leaves_what_came_before(self, finished):
        assert planned(finished, "landmarks", "--forcerun", "landmarks_shard") == {"landmarks_shard": 2, "status": 1}
        stale = planned(finished, "--forcerun", "landmarks_shard")
        assert not stale.keys() & {"generate", "index_dataset", "faces_shard"}
        assert stale["heatmaps_shard"] == 2
        assert stale["train_run"] == 3

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
        assert shards.Shard(path).attributes["extractor"] == "dlib"

    def test_other_pictures_retrain_nothing(self, finished):
        config = json.loads(json.dumps(CONFIG)) | {"evaluation": {"faithfulness_images": 7, "gallery_faces": 2}}
        stale = planned(finished, config=config)
        assert stale.pop("table") == 18  # at once: they name the grid, which says all of the config
        assert stale == {"grid": 1, "gallery_pair": 1, "report": 1}

    def test_the_report_of_half_of_the_runs(self, finished):
        """It needs no run, is made whenever it is asked for, and says what is missing."""
        config = json.loads(json.dumps(CONFIG))
        config["experiments"]["table1"]["seeds"] = [0, 1]
        assert planned(finished, "report_so_far", config=config) == {"grid": 1, "report_so_far": 1}
        done = snakemake(finished, "report_so_far", config=config)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "pending" in (finished / "out" / "report-so-far.html").read_text()
        assert planned(finished, "report_so_far", config=config) == {"report_so_far": 1}


@pytest.mark.slow
class TestKilled:
    def test_the_next_call_ends_like_an_unbroken_one(self, finished, tmp_path):
        """Snakemake is killed seven times at random moments, its jobs as it happens: some live on for a while."""
        chance = np.random.default_rng(7)
        folder = tmp_path / "killed"
        for _ in range(7):
            process = begin(folder)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(4, 16))
            process.kill()
            process.wait()
        done = snakemake(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        tables = sorted((finished / "out" / "tables").glob("*.csv"))
        assert tables
        for path in tables:
            if "time" not in path.name:
                assert (folder / "out" / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
        assert planned(folder) == {}

    def test_of_two_workflows_in_one_folder_the_second_says_so(self, tmp_path):
        first = begin(tmp_path)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".snakemake/*.lock")) and time.monotonic() < deadline:
            time.sleep(0.05)
        second = snakemake(tmp_path)
        text = second.stdout + second.stderr
        assert second.returncode != 0
        assert re.search(r"error: another snakemake \(process \d+\) works on out; wait for its end", text), text
        assert "Traceback" not in text
        assert planned(tmp_path)  # a dry run may look at any time
        first.terminate()
        first.wait()


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
        found = [read_predictions(folder / "predictions.h5") for folder in folders]
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
