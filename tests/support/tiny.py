"""A workflow on a tiny synthetic dataset, and what a dry run of it would do."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.paths import ROOT

CONFIG = {
    "results": "out",
    "model": {"backbone": "resnet18_quarter", "init": "none", "image_size": 64},
    "training": {"epochs": 1, "batch_size": 16, "learning_rate": 0.01, "step_size": 1, "gamma": 0.5},
    "guidance": {"weight": 5},
    "evaluation": {"faithfulness_images": 7, "gallery_faces": 1},
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
        "controls": {"datasets": ["faces"], "methods": ["cam"], "controls": ["shuffled"]},
    },
}


def command(folder, *arguments, config=CONFIG):
    """Write the config to `folder`; return the call of snakemake there and its environment."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    call = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    call += ["--configfile", folder / "tiny.yaml", "--cores", "2", *arguments]
    hidden = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return call, environment | {"OMP_WAIT_POLICY": "passive"}


def snakemake(folder, *arguments, config=CONFIG):
    """Run snakemake in `folder`; return the finished process."""
    call, environment = command(folder, *arguments, config=config)
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


def begin(folder, *arguments, config=CONFIG):
    """Start snakemake in `folder`."""
    call, environment = command(folder, *arguments, config=config)
    output = (folder / "output.txt").open("w")
    return subprocess.Popen(call, stdout=output, stderr=output, env=environment, cwd=ROOT)


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
    return {rule: count for rule, count in counts.items() if rule not in ("all", "landmarks", *CONFIG["experiments"])}
