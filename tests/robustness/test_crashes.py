"""Every stage is killed at random moments, and meets full and closed disks: the next call ends like an unbroken one."""

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.stages import STAGES, card, run, start

KILLS = 20
BY_NAME = {stage.name: stage for stage in STAGES}
VOLATILE = {"seconds"}  # columns of wall time


def content(path):
    """What a file or folder holds, but for wall times."""
    if path.is_dir():
        return {str(file.relative_to(path)): content(file) for file in sorted(path.rglob("*")) if file.is_file()}
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return table.drop(columns=VOLATILE & set(table)).to_csv()
    return path.read_bytes()


def outputs(stage, folder):
    """What a stage has written, file by file; the folder of a run counts by its files."""
    files = [path for path in stage.files(folder) if path.exists() and path != folder / "run"]
    return {str(path.relative_to(folder)): content(path) for path in files}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A folder after every stage, and how long each took in seconds."""
    folder = tmp_path_factory.mktemp("unbroken")
    card(folder)
    took = {}
    run(STAGES[1], folder)  # fails, and has imported everything
    for stage in STAGES:
        begun = time.monotonic()
        code, said = run(stage, folder)
        assert code == 0, said
        took[stage.name] = time.monotonic() - begun
    return folder, took


@pytest.fixture
def before(unbroken, tmp_path):
    """A copy of that folder for a test to break."""
    folder = tmp_path / "work"
    shutil.copytree(unbroken[0], folder)
    return folder


def remove(stage, folder):
    for path in stage.files(folder):
        if path.is_dir() and path != folder / "run":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_a_stage_may_be_killed_at_any_moment(name, unbroken, before):
    """Twenty times in a row; whatever stands under its own name meanwhile is whole."""
    stage, (reference, took) = BY_NAME[name], unbroken
    expected = outputs(stage, reference)
    assert expected
    remove(stage, before)
    chance, longest, killed = np.random.default_rng([*name.encode()]), took[name], 0
    for _ in range(10 * KILLS):
        begun = time.monotonic()
        process = start(stage, before)
        process.join(chance.uniform(0, longest))
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:  # this machine has become faster
            longest = min(longest, time.monotonic() - begun)
        if name != "synthetic":  # many files: the folder is an output only when the command has ended
            found = outputs(stage, before)
            assert found == {path: expected[path] for path in found}
        if killed == KILLS:
            break
    assert killed == KILLS
    code, said = run(stage, before)
    assert code == 0, said
    assert outputs(stage, before) == expected


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"synthetic"}))
def test_a_full_disk_is_one_line_and_what_was_there_stays(name, unbroken, before):
    """A limit on the size of files stands for the end of the disk, at half of the largest one that it writes."""
    stage = BY_NAME[name]
    files = [path for path in stage.files(before) if path.is_file()] or list(Path(before).glob(f"{stage.out}.*"))
    kept = {path: path.read_bytes() for path in files}
    code, said = run(stage, before, limit=max(map(len, kept.values())) // 2)
    assert code == 1, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("error: ")
    assert "File too large" in said
    found = {path for path in before.rglob("*") if path.is_file() and path.name.startswith(".")}
    assert not found
    assert kept == {path: path.read_bytes() for path in kept}


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"synthetic"}))
def test_a_folder_that_cannot_be_written_is_one_line(name, before):
    stage = BY_NAME[name]
    code, said = run(stage, before, out=f"/sys/nowhere/{Path(stage.out).name}")
    assert code == 1, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("error: /sys/nowhere")


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("landmarks", "data/faces/0.h5"),
        ("heatmaps", "data/landmarks/0.h5"),
        ("train", "data/heatmaps/0.h5"),
        ("predict", "run/checkpoint.safetensors"),
        ("score", "run/predictions.h5"),
        ("training_means", "data/heatmaps/0.h5"),
        ("maps", "run/predictions.h5"),
        ("tables", "run/scores.json"),
        ("align", "data/index.csv"),
        ("faithfulness", "run/checkpoint.safetensors"),
    ],
)
@pytest.mark.parametrize("way", ["cut", "flipped", "empty"])
def test_a_damaged_input_is_one_line_and_nothing_is_lost(name, damaged, way, before):
    stage, path = BY_NAME[name], before / damaged
    good = bytearray(path.read_bytes())
    if way == "flipped":
        good[len(good) // 2] ^= 255
    path.write_bytes(b"" if way == "empty" else good if way == "flipped" else good[: len(good) // 2])
    kept = outputs(stage, before)
    code, said = run(stage, before)
    assert code == 1, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("error: ")
    assert path.name in said
    assert outputs(stage, before) == kept
