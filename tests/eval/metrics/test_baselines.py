from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from au_guidance.expressions import Expression
from au_guidance.loss import resize
from eval.metrics.baseline_maps import BaselineMaps, gaussian
from eval.metrics.baselines import BASELINES, skill
from eval.metrics.cosines import l2_normalise, map_cosine
from eval.metrics.per_face import through_grid
from eval.metrics.training_means import average_training_faces, fingerprint, read_means, write_means
from eval.records.predictions import ORDERED
from pipeline.errors import UserError
from pipeline.storage import shards
from pipeline.storage.shards import ShardFolder
from tests.support.constructed import Constructed
from train.card.schema import Card, Heatmap
from train.data.controls import landmark_map
from train.data.prepared import Prepared

MakeCard = Callable[..., Card]


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left.astype(float), right.astype(float)
    return (left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum())


@pytest.fixture(scope="module")
def means(prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("means") / "means.npz"
    write_means(prepared_folder, Heatmap(), path)
    return read_means(path)


def test_gaussian_by_hand() -> None:
    drawn = gaussian(np.array([100.0, 50.0]), np.array([[16.0, 0.0], [0.0, 100.0]])).numpy()
    assert drawn[50, 100] == 1
    assert drawn[50, 104] == drawn[50, 96] == pytest.approx(np.exp(-0.5))
    assert drawn[60, 100] == pytest.approx(np.exp(-0.5))
    assert drawn[70, 108] == pytest.approx(np.exp(-4))
    slanted = gaussian(np.array([100.0, 50.0]), np.array([[100.0, 80.0], [80.0, 100.0]])).numpy()
    assert slanted[60, 110] > 0.5  # x and y grow together
    assert slanted[40, 110] < 0.1


def test_means_are_those_of_the_training_faces(prepared_folder: Path, means) -> None:
    prepared = Prepared(prepared_folder, Heatmap())
    rows = [row for row in prepared.rows("train") if prepared.heatmap(row) is not None]
    landmarks = []
    for number, expression in enumerate(ORDERED):
        own = [row for row in rows if prepared.expressions[row] == expression]
        expected = np.mean([prepared.heatmap(row) for row in own], axis=0)
        np.testing.assert_allclose(means.class_mean[number], expected, atol=1e-6)
        assert means.about["faces"][expression.label] == len(own)
        landmarks.append(np.mean([landmark_map(prepared.points[row]) for row in own], axis=0))
    np.testing.assert_allclose(means.class_agnostic, means.class_mean.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(means.landmarks, np.mean(landmarks, axis=0), atol=1e-6)
    points = prepared.points[rows].reshape(-1, 2)
    np.testing.assert_allclose(means.face_gaussian[0], points.mean(axis=0))
    np.testing.assert_allclose(means.face_gaussian[1:], np.cov(points.T))


def test_as_many_faces_as_asked_for_by_seed(prepared_folder: Path) -> None:
    few = [average_training_faces(prepared_folder, Heatmap(), most=2, seed=seed) for seed in (0, 0, 1)]
    assert set(few[0]["about"]["faces"].values()) == {2}
    assert (few[0]["class_mean"] == few[1]["class_mean"]).all()
    assert (few[0]["class_mean"] != few[2]["class_mean"]).any()


def test_means_file_is_the_same_every_time_and_refuses_other_data(means, prepared_folder: Path, tmp_path: Path) -> None:
    write_means(prepared_folder, Heatmap(), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == means.path.read_bytes()
    means.check(ShardFolder(prepared_folder / "heatmaps"), Heatmap())
    with pytest.raises(UserError, match=r"other codebook \(paper_code\).*run eval\.metrics\.training_means again"):
        means.check(ShardFolder(prepared_folder / "heatmaps"), Heatmap(codebook="emfacs"))
    changed = tmp_path / "data" / "heatmaps"
    for shard in ShardFolder(prepared_folder / "heatmaps").shards:
        columns = shard.columns()
        shards.write(
            changed / shard.path.name, {**columns, "shapes": columns["shapes"] + 1}, of=2, geometry="published"
        )
    assert fingerprint(ShardFolder(changed)) != fingerprint(ShardFolder(prepared_folder / "heatmaps"))
    with pytest.raises(UserError, match="other data"):
        means.check(ShardFolder(changed), Heatmap())


def test_means_of_nothing_are_refused(prepared_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist; make it with python -m eval\.metrics\.training_means"):
        read_means(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("text.npz", "array.npy", "other.npz"):
        with pytest.raises(UserError, match="holds no means"):
            read_means(tmp_path / name)
    with pytest.raises(UserError, match="holds the geometry 'published', not 'symmetric'"):
        average_training_faces(prepared_folder, Heatmap(geometry="symmetric"))


def test_baselines_are_cosines_of_painted_maps(make_card: MakeCard, means) -> None:
    made = Constructed(make_card())
    rows = np.flatnonzero(made.valid)
    own, expressions = made.heatmaps[rows], made.expressions[rows]
    said = np.where(np.arange(len(rows)) % 3 == 0, Expression.NEUTRAL, Expression.FEAR)
    found = BaselineMaps(means).cosines(l2_normalise(torch.from_numpy(own)), expressions, said)
    blob = gaussian(np.full(2, 111.5), 56.0**2 * np.eye(2)).numpy()
    for place, heatmap in enumerate(own):
        fear = np.array(means.class_mean[ORDERED.index(Expression.FEAR)])
        expected = {
            "uniform": cosine(np.ones((224, 224)), heatmap),
            "centred_gaussian": cosine(blob, heatmap),
            "face_gaussian": cosine(gaussian(means.face_gaussian[0], means.face_gaussian[1:]).numpy(), heatmap),
            "landmarks": cosine(means.landmarks, heatmap),
            "class_agnostic": cosine(means.class_agnostic, heatmap),
            "class_mean": cosine(means.class_mean[ORDERED.index(expressions[place])], heatmap),
            "predicted_class_mean": cosine(means.class_agnostic if place % 3 == 0 else fear, heatmap),
        }
        assert {name: values[place] for name, values in found.items()} == pytest.approx(expected, abs=1e-5)
        assert expected["class_mean"] > 0.9 > expected["class_agnostic"]
    assert set(BaselineMaps(None).cosines(l2_normalise(torch.from_numpy(own)), expressions, said)) == {
        "uniform",
        "centred_gaussian",
    }
    assert set(found) == set(BASELINES) - {"other_face", "ceiling", "untrained"}


def test_ceiling_is_the_heatmap_through_the_grid(make_card: MakeCard) -> None:
    made = Constructed(make_card())
    heatmaps = torch.from_numpy(made.heatmaps[made.valid])
    seen = []
    for side in (4, 7, 28, 224):
        seen.append(map_cosine(through_grid("attention", heatmaps, side, "half_pixel"), heatmaps).mean())
    assert seen == sorted(seen)
    assert 0.6 < seen[0] < 0.9
    assert seen[-1] == pytest.approx(1, abs=1e-5)
    one = resize(torch.eye(4)[None], 2, "half_pixel")  # means of tents over 4 pixels
    assert one[0, 0, 0] == pytest.approx(one[0, 1, 1])
    assert one[0, 0, 0] > one[0, 0, 1] > 0


def test_skill_by_hand() -> None:
    assert skill(0.88, 0.76) == pytest.approx(0.5)
    assert skill(0.76, 0.76) == 0
    assert skill(0.52, 0.76) == pytest.approx(-1)
    assert skill(1, 1) is None
