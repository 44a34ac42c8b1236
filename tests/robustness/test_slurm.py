"""On a real SLURM with two made-up GPUs: the same tables as on this machine alone, also when a training is killed.

`make test-slurm` brings the packages and runs this.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.support.paths import ROOT

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
DEMO = yaml.safe_load((ROOT / "workflow" / "configs" / "demo.yaml").read_text())
PLUGINS = ("slurm", "cluster_generic")
TIMES = re.compile("time|seconds")


def missing():
    """Say why SLURM cannot be started here; nothing if it can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"{absent[0]} is not installed (Debian: slurmctld slurmd slurm-client munge)"
    for name in PLUGINS:
        if not importlib.util.find_spec(f"snakemake_executor_plugin_{name}"):
            return f"the plugin {name} is not installed: uv sync --group cluster"
    if os.geteuid() != 0:
        return "only root can start a cluster"
    return "" if "AU_TEST_SLURM" in os.environ else "it takes minutes: make test-slurm"


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running cluster; gives the environment for its jobs."""
    home = tmp_path_factory.mktemp("slurm")
    # One process in a job of one core, as nothing keeps it to its cores here.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    try:
        done = subprocess.run(
            [ROOT / "tests/slurm/up.sh", home], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 77:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)
        subprocess.run([ROOT / "tests/slurm/down.sh", home], check=False)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The demo with fewer faces and epochs."""
    folder = tmp_path_factory.mktemp("config")
    values = DEMO | {"evaluation": {"faithfulness_images": 7, "gallery_faces": 1}}
    values["training"] = DEMO["training"] | {"epochs": 6}
    values["datasets"]["synthetic"]["generate"] = {"identities_train": 20, "identities_test": 5, "size": 128, "seed": 0}
    values["results"] = "results"
    (folder / "demo.yaml").write_text(yaml.safe_dump(values))
    return folder / "demo.yaml"


ALONE = ("train_run", "predict", "predict_untrained", "faithfulness")
HUNGRY = (*ALONE, "score", "landmarks_shard", "faces_shard")


def snakemake(folder, config, profile, environment):
    """Run the workflow through a profile, in jobs as small as the demo and this node are."""
    folder.mkdir()
    command = ["snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", config]
    command += ["--workflow-profile", ROOT / "profiles" / profile, "--cores", "2"]
    if profile != "cpu":
        command += ["--set-resources", *(f"{rule}:mem_mb=600 * attempt" for rule in HUNGRY)]
        # As in profiles/cpu: other numbers of threads round otherwise.
        command += ["--set-threads", *(f"{rule}=1" for rule in ALONE)]
    if profile == "slurm":
        command += ["--slurm-init-seconds-before-status-checks", "3"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, config, cluster):
    """The tables of a run without a cluster."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = snakemake(folder, config, "cpu", cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    return tables(folder)


def tables(folder):
    """All tables of numbers that are not times."""
    found = {path.name: pd.read_csv(path) for path in sorted((folder / "results" / "tables").glob("*.csv"))}
    return {name: table for name, table in found.items() if not TIMES.search(name)}


def kill_a_training(folder, environment, said):
    """Kill the job of the first training that has saved a state."""
    runs = folder / "results" / "runs"
    while not said.get("over"):
        if any(runs.rglob("state/last.pt")):
            listed = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %b %k"]
            lines = subprocess.run(
                listed, env=environment, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            jobs = [line.split()[0] for line in lines if "train_run" in line]
            if jobs:
                subprocess.run(["scancel", "--signal=KILL", "--full", jobs[0]], env=environment, check=True)
                said["killed"] = jobs[0]
                return
        time.sleep(0.05)


def test_a_killed_job_changes_nothing(alone, cluster, config, tmp_path):
    folder, said = tmp_path / "run", {}
    killer = threading.Thread(target=kill_a_training, args=(folder, cluster, said))
    killer.start()
    done = snakemake(folder, config, "slurm", cluster)
    said["over"] = True
    killer.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert said["killed"]
    assert "Trying to restart job" in done.stdout + done.stderr
    logs = [path.read_text() for path in (folder / "results" / "logs" / "train").glob("*.log")]
    assert any("continuing after epoch" in text for text in logs)
    found = tables(folder)
    assert found.keys() == alone.keys()
    for name, table in alone.items():
        pd.testing.assert_frame_equal(found[name], table, obj=name)


def test_each_training_has_a_gpu_of_its_own(cluster, tmp_path):
    """What a job sees of the two, with the arguments that the profile's resource `gpu: 1` becomes."""
    script = f"echo $CUDA_VISIBLE_DEVICES >> {tmp_path}/seen; sleep 3"
    jobs = [
        subprocess.Popen(["srun", "--gpus=1", "--mem=100", "--quiet", "sh", "-c", script], env=cluster)
        for _ in range(2)
    ]
    assert [job.wait(60) for job in jobs] == [0, 0]
    assert sorted((tmp_path / "seen").read_text().split()) == ["0", "1"]


def test_any_other_scheduler(alone, cluster, config, tmp_path):
    done = snakemake(tmp_path / "run", config, "cluster-generic", cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, table in tables(tmp_path / "run").items():
        pd.testing.assert_frame_equal(table, alone[name], obj=name)
