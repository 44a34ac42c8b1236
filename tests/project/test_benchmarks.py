"""Benchmarks: the published loader does the same work, numbers are summarised correctly, and rates become costs."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from au_guidance.expressions import Expression
from au_guidance.heatmap import render
from benchmarks import __main__ as command
from benchmarks import data, loading, preparation, training
from benchmarks.published_loader import PublishedDataset, full_size_map
from benchmarks.timing import summarise, time_tasks
from pipeline.detectors import blaze
from pipeline.errors import UserError
from pipeline.geometry import five_points
from pipeline.sources import folder, synthetic
from pipeline.storage import images
from tests.support.faces import mean_face
from train.engine.progress import Progress
from workflow.config import parse
from workflow.cost import estimate

CPU = torch.device("cpu")


def test_tasks_take_turns_after_a_warm_up():
    order = []
    spent = time_tasks({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, CPU)
    assert order == ["a", "b"] * 4
    assert {name: seconds.shape for name, seconds in spent.items()} == {"a": (3,), "b": (3,)}


def test_processor_time_excludes_waiting():
    assert time_tasks({"sleep": lambda: time.sleep(0.05)}, 1, CPU)["sleep"][0] < 0.04


def test_a_row_is_the_median_with_quartiles():
    row = summarise("stage", "name", np.array([4.0, 1, 2, 3, 10]), "ms")
    assert (row.low, row.value, row.high, row.repeats) == (2, 3, 4, 5)


def test_the_published_loader_draws_the_same_maps():
    points = mean_face()
    for expression in Expression:
        ours, theirs = render(points, expression, 224), full_size_map(points, expression)
        if ours is None:
            assert np.isinf(theirs).all()
        else:
            np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_the_published_loader_gives_three_images_and_a_map(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    (tmp_path / "0.jpg").write_bytes(images.encode(picture).tobytes())
    happy = np.array([Expression.HAPPINESS])
    item = PublishedDataset([tmp_path / "0.jpg"], happy, mean_face()[None], maps=True)[0]
    assert {name: tuple(value.shape) for name, value in item.items()} == {
        "image": (3, 224, 224),
        "unmasked": (3, 224, 224),
        "raw": (3, 224, 224),
        "map": (1, 224, 224),
    }
    assert 0 <= item["raw"].min() < item["raw"].max() <= 1
    assert item["map"].max() > 0.9


@pytest.mark.slow
def test_every_turn_trains_a_complete_epoch(tmp_path, monkeypatch):
    faces = data.prepare(tmp_path, 4)
    trainer = training._trainers(faces, CPU, data.SMALL)["with AU"]
    progress = Progress(trainer.card, 1, tmp_path, done=0)
    steps = []
    monkeypatch.setattr(progress, "step", lambda: steps.append(trainer.step))
    for turn in (1, 2):
        training.train_epoch(trainer, progress)
        assert len(steps) == turn * len(trainer.train_batches) > 0


@pytest.mark.slow
def test_a_stage_is_measured_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PEOPLE", 4)
    monkeypatch.setattr(loading.measure, "__defaults__", (1,))
    threads = torch.get_num_threads()
    command.measure(CPU, ["loading"], tmp_path / "rates.csv")
    torch.set_num_threads(threads)
    table = pd.read_csv(tmp_path / "rates.csv")
    assert np.isfinite(table["value"]).all()
    assert (table["value"] > 0).all()
    assert table["device"].eq("cpu").all()
    ours, theirs = (
        table.loc[table["name"] == f"{who}, with maps", "value"].item()
        for who in ("ours in memory", "published loader")
    )
    assert ours < theirs
    assert "published loader, with maps" in capsys.readouterr().out


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return data.prepare(tmp_path_factory.mktemp("drawn"), 2)


@pytest.mark.slow
def test_tight_pictures_hold_the_face_and_nothing_else(drawn):
    tight = data.cut_tightly(drawn)
    truth = {sample.id: sample.landmarks for sample in synthetic.read(drawn.root)}
    samples = list(folder.read(tight.root))
    assert len(samples) == len(truth) == 14
    for sample in samples:
        picture = images.read(tight.root / sample.path)
        assert picture.shape == (48, 48, 3)
        assert np.ptp(picture, axis=2).max() == 0
        points = truth[Path(sample.path).stem]
        low, high = points.min(0), points.max(0)
        expected = (five_points(points) - (low + high) / 2) * 48 / (high - low).max() + 23.5
        found = blaze.detect(picture, sample)
        away = np.linalg.norm(found.points5 - expected, axis=1)[:3]  # eyes and nose
        assert away.max() < 0.15 * np.linalg.norm(expected[1] - expected[0])


@pytest.mark.slow
def test_stages_add_up_and_detectors_are_compared_within_one_run(drawn):
    rows = {row.name: row.value for row in preparation._stages(drawn, 1)}
    for detector, extractor in (("blaze", "mesh"), ("dlib", "dlib"), ("dataset", "mesh"), ("dataset", "dlib")):
        total = rows[f"align, {detector}"] + rows[f"landmarks, {extractor}"] + rows["AU shapes"]
        assert rows[f"all stages, {detector} + {extractor}"] == pytest.approx(1000 / total)
    assert rows["align, none"] < rows["align, blaze"]
    tight = {row.name: row.value for row in preparation._tight(data.cut_tightly(drawn), 1)}
    pictures = "pictures of 48 px"
    ours, theirs = (tight[f"{pictures}, all stages, {pair}"] for pair in ("blaze + mesh", "dlib + dlib"))
    assert tight[f"{pictures}, blaze + mesh"] == pytest.approx(theirs / ours)
    assert tight[f"{pictures}, all stages, blaze + mesh, with landmarks"] == 100


def rates(path, *names, value=100.0):
    rows = [{"stage": "training", "name": name, "value": value, "device": "cuda", "machine": "H200"} for name in names]
    disk = {"faces shards": 20_000.0, "landmarks shards": 560.0, "heatmaps shards": 740.0, "resnet50 checkpoint": 94.0}
    rows += [
        {"stage": "disk", "name": name, "value": size, "device": "cuda", "machine": "H200"}
        for name, size in disk.items()
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


CONFIG = """
model: {backbone: resnet50, init: none}
training: {epochs: 10, batch_size: 30, learning_rate: 0.01}
guidance: {weight: 5}
datasets:
  drawn: {source: synthetic, generate: {identities_train: 1000, identities_test: 300}, extractor: dlib}
experiments:
  table1: {datasets: [drawn], methods: [cam, gradcam], seeds: [0, 1]}
"""


def test_a_grid_costs_what_its_trainings_take(tmp_path):
    batches = [f"resnet50 at 224 px, batch {size}, {which} AU" for size in (32, 224) for which in ("with", "without")]
    lines = estimate(parse(yaml.safe_load(CONFIG)), rates(tmp_path / "rates.csv", *batches))
    # 7,000 faces, 700 of them validate, 10 epochs; 2,100 test faces twice; a forward pass is a third of a step
    hours = 4 * (10 * (6300 + 700 / 3) + 2 * 2100 / 3) / 100 / 3600
    assert lines[0] == f"drawn: resnet50 at 224 px: {hours:,.1f} h"
    assert f"4 trainings of 8 runs, together {hours:,.1f} h" in lines
    assert "on cuda: H200" in lines
    assert f"drawn: {9100 * 21_300 / 1e9:,.1f} GB of faces, landmarks and heatmaps" in lines
    assert "checkpoints of 4 trainings, best and last: 0.8 GB" in lines


@pytest.mark.parametrize(
    ("split", "train", "validate"),
    [("auto", 28_709, 3_589), ("own", 28_709, 3_589), ("seeded", 28_709 - 2_871, 2_871)],
)
def test_a_validation_split_costs_what_it_takes(tmp_path, split, train, validate):
    text = CONFIG.replace("drawn: {source: synthetic, generate: {identities_train: 1000, identities_test: 300}",
                          "drawn: {source: fer2013, root: faces").replace("seeds: [0, 1]", "seeds: [0]")  # fmt: skip
    config = parse(yaml.safe_load(f"validation: {{split: {split}}}\n{text}"))
    batches = [f"resnet50 at 224 px, batch 32, {which} AU" for which in ("with", "without")]
    hours = 2 * (10 * (train + validate / 3) + 2 * 3_589 / 3) / 100 / 3600
    lines = estimate(config, rates(tmp_path / "rates.csv", *batches))
    assert lines[0] == f"drawn: resnet50 at 224 px: {hours:,.1f} h"
    assert f"drawn: {35_887 * 21_300 / 1e9:,.1f} GB of faces, landmarks and heatmaps" in lines


def test_the_nearest_batch_size_counts(tmp_path):
    path = rates(tmp_path / "rates.csv", "resnet50 at 224 px, batch 8, with AU", value=1.0)
    table = pd.read_csv(path)
    more = table.iloc[[0]].assign(name="resnet50 at 224 px, batch 64, with AU", value=1000.0)
    plain = [table.iloc[[0]].assign(name=f"resnet50 at 224 px, batch {n}, without AU", value=1e9) for n in (8, 64)]
    pd.concat([table, more, *plain]).to_csv(path, index=False)
    (first, *_) = estimate(parse(yaml.safe_load(CONFIG)), path)
    assert first == f"drawn: resnet50 at 224 px: {2 * (10 * (6300 + 700 / 3) + 1400) / 1000 / 3600:,.1f} h"


def test_unmeasured_networks_are_named(tmp_path):
    lines = estimate(parse(yaml.safe_load(CONFIG)), rates(tmp_path / "r.csv", "resnet50 at 112 px, batch 32, with AU"))
    assert lines[0] == "left out, as not measured: 4 trainings of resnet50 at 224 px on drawn"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; `make bench` writes it"),
        ("a,b\n1,2\n", "is not a table of `make bench`"),
        ("stage,name,value,device,machine\ndisk,faces shards,1,cpu,one\n", "holds no rates of training"),
    ],
)
def test_a_file_without_rates_is_one_line(tmp_path, content, message):
    path = tmp_path / "rates.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        estimate(parse(yaml.safe_load(CONFIG)), path)
