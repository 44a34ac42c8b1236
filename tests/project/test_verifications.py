"""No command verifies a shard more than once: hashing a large dataset takes minutes."""

from collections import Counter

import numpy as np
import pytest

from eval.metrics.per_face import measure_faces
from eval.metrics.training_means import read_means, write_means
from eval.records.predictions import read_predictions
from pipeline import heatmaps, landmarks, status
from pipeline.storage import shards
from tests.support.constructed import Constructed
from train.card.schema import Heatmap
from train.data.prepared import Prepared


@pytest.fixture
def verified(monkeypatch, make_card):
    """How often each file was verified."""
    make_card()
    times, verify = Counter(), shards.verify_checksum

    def counting(path):
        times["/".join(path.parts[-2:])] += 1
        return verify(path)

    monkeypatch.setattr(shards, "verify_checksum", counting)
    return times


def each_once(*stages):
    return {f"{stage}/{number}.h5": 1 for stage in stages for number in range(2)}


def test_each_stage_of_the_preparation_verifies_its_shard_once(verified, prepared_folder, tmp_path):
    landmarks.extract_landmarks(prepared_folder / "faces" / "0.h5", tmp_path / "l.h5", "dataset")
    heatmaps.build_heatmaps(prepared_folder / "landmarks" / "1.h5", tmp_path / "h.h5", "published")
    assert verified == {"faces/0.h5": 1, "landmarks/1.h5": 1}


def test_status_verifies_each_shard_once(verified, prepared_folder, tmp_path):
    status.write_status(prepared_folder, tmp_path / "status")
    assert verified == each_once("faces", "landmarks")


def test_the_trainer_verifies_each_shard_once(verified, prepared_folder):
    prepared = Prepared(prepared_folder, Heatmap())
    prepared.image(0)
    assert len(prepared.points) == len(prepared.attributes["attribute_gender"]) == 63
    assert verified == each_once("faces", "heatmaps", "landmarks")


def test_training_means_verify_each_shard_once(verified, prepared_folder, tmp_path):
    write_means(prepared_folder, Heatmap(), tmp_path / "means.npz")
    assert verified == each_once("faces", "heatmaps", "landmarks")


def test_scores_verify_the_predictions_and_each_shard_once(verified, prepared_folder, make_card, tmp_path):
    write_means(prepared_folder, Heatmap(), tmp_path / "means.npz")
    made = Constructed(make_card())
    path = made.write(tmp_path / "made" / "p.h5", attention_5=np.ones((len(made.ids), 4, 4)))
    verified.clear()
    predictions = read_predictions(path)
    measure_faces(predictions, read_means(tmp_path / "means.npz"))
    assert len(predictions.without_landmarks) == len(made.ids)
    assert verified == {"made/p.h5": 1, **each_once("heatmaps")}
