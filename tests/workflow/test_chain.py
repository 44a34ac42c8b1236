"""A training that starts from another one's checkpoint."""

from types import SimpleNamespace

import pytest

from tests.support.tiny import CONFIG, planned
from workflow.plan import Plan


@pytest.mark.slow
def test_a_run_that_starts_from_another_one_waits_for_it(tmp_path):
    start = "out/runs/heldout/drawn/cam/au-w5-l5/seed0/checkpoint.safetensors"
    faces = CONFIG["datasets"]["faces"]
    experiment = {"datasets": ["faces"], "methods": ["cam"]}
    chained = CONFIG | {
        "datasets": {"drawn": faces, "faces": faces | {"model": {"init": start}}},
        "experiments": {"table1": experiment},
    }
    plan = Plan.parse(chained)
    run = SimpleNamespace(protocol="heldout", dataset="faces", method="cam", variant="plain", seed="0")
    assert plan.initial_files(run) == [start]
    assert planned(tmp_path / "chained", "train", config=chained)["train_run"] == 3
