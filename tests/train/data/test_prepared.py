"""The prepared dataset: what a row holds and who validates."""

import numpy as np
import pytest

from au_guidance.expressions import Expression
from au_guidance.heatmap import render
from pipeline.errors import UserError
from pipeline.storage import shards
from tests.support.faces import CROP
from train.card.schema import Heatmap
from train.data.prepared import Prepared, held_out, part_rows


@pytest.fixture(scope="module")
def prepared(prepared_folder):
    return Prepared(prepared_folder, Heatmap())


def test_rows_hold_what_the_shards_hold(prepared, prepared_folder):
    row = 40
    stored = shards.read_all(prepared_folder / "faces")
    assert prepared.ids[row] == stored["id"][row]
    image = prepared.image(row)
    assert image.shape == (CROP, CROP, 3)
    assert image.dtype == np.uint8
    channel = int(prepared.expressions[row]) % 3  # the fixture paints the patch of a class into this channel
    contrast = image.reshape(-1, 3).max(0)
    assert contrast.argmax() == channel


def test_heatmap_is_the_rendered_one(prepared, prepared_folder):
    points = shards.read_all(prepared_folder / "landmarks")["points"]
    row = next(row for row in prepared.rows("train") if prepared.expressions[row] == Expression.HAPPINESS)
    expected = render((points[row] + 0.5) * 224 / CROP - 0.5, Expression.HAPPINESS, 224)
    assert np.abs(prepared.heatmap(row) - expected).max() <= 1 / 255


def test_neutral_and_faces_without_landmarks_have_no_heatmap(prepared):
    neutral = np.flatnonzero(prepared.expressions == Expression.NEUTRAL)
    assert all(prepared.heatmap(row) is None for row in neutral)
    assert prepared.heatmap(list(prepared.ids).index("train_005")) is None


def test_unreadable_faces_are_left_out(prepared):
    broken = list(prepared.ids).index("train_010")
    assert not prepared.readable[broken]
    assert broken not in prepared.rows("train")
    assert len(prepared.rows("train")) == 41
    assert len(prepared.rows("test")) == 21
    with pytest.raises(UserError, match="train_010"):
        prepared.image(broken)


def test_alignment_and_digest(prepared, prepared_folder):
    assert prepared.alignment == {"size": CROP, "detector": "none", "mode": "similarity"}
    assert prepared.digest == Prepared(prepared_folder, Heatmap(codebook="emfacs")).digest


def test_shards_of_an_earlier_division_do_not_count(prepared, copied):
    for stage in ("faces", "heatmaps"):
        (copied / stage / "2.h5").write_bytes((copied / stage / "1.h5").read_bytes())
    assert Prepared(copied, Heatmap()).digest == prepared.digest


def test_another_geometry_than_the_stored_one_is_refused(prepared_folder):
    with pytest.raises(UserError, match=r"heatmaps holds the geometry 'published'.*'symmetric'"):
        Prepared(prepared_folder, Heatmap(geometry="symmetric"))


@pytest.fixture
def copied(prepared_folder, tmp_path):
    for stage in ("faces", "heatmaps"):
        (tmp_path / stage).mkdir()
        for path in (prepared_folder / stage).glob("*.h5"):
            (tmp_path / stage / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_shards_of_different_images_are_refused(copied):
    heatmaps = shards.read(copied / "heatmaps" / "0.h5")
    heatmaps["id"] = heatmaps["id"][::-1]
    shards.write(copied / "heatmaps" / "0.h5", heatmaps, of=2, geometry="published")
    with pytest.raises(UserError, match="different images"):
        Prepared(copied, Heatmap())


@pytest.mark.parametrize(
    ("stage", "changes"), [("faces", {"size": CROP, "detector": "dlib"}), ("heatmaps", {"geometry": "symmetric"})]
)
def test_a_shard_made_under_other_settings_is_named(copied, stage, changes):
    path = copied / stage / "1.h5"
    shards.write(path, shards.read(path), **changes)
    with pytest.raises(UserError, match=rf"{stage}/1\.h5 says .*{next(reversed(changes.values()))}.*delete it"):
        Prepared(copied, Heatmap())


def test_a_face_that_is_there_twice_is_named(copied):
    for stage in ("faces", "heatmaps"):
        for path in (copied / stage).glob("*.h5"):
            shard = shards.Shard(path)
            columns = shard.columns()
            columns["id"][columns["id"] == "train_003"] = "train_007"
            shards.write(path, columns, of=2, **shard.attributes)
    with pytest.raises(UserError, match="train_007 occurs twice"):
        Prepared(copied, Heatmap())


def test_parts_under_both_protocols(prepared, make_card):
    card = make_card()
    train, validation = part_rows(prepared, card, "train"), part_rows(prepared, card, "validation")
    assert sorted([*train, *validation]) == sorted(prepared.rows("train"))
    assert not set(prepared.identities[train]) & set(prepared.identities[validation])
    assert set(prepared.expressions[validation]) == set(range(7))
    paper = make_card(protocol="paper")
    np.testing.assert_array_equal(part_rows(prepared, paper, "validation"), prepared.rows("test"))
    np.testing.assert_array_equal(part_rows(prepared, paper, "train"), prepared.rows("train"))
    np.testing.assert_array_equal(part_rows(prepared, card, "test"), prepared.rows("test"))


def test_held_out_is_stratified_exactly_when_people_are_unknown():
    sizes = [70, 200, 33, 2, 1, 5, 104]
    expressions = np.random.default_rng(0).permutation(np.repeat(np.arange(7), sizes))
    chosen = held_out(expressions, np.full(len(expressions), ""), fraction=0.1, seed=3)
    assert np.bincount(expressions[chosen], minlength=7).tolist() == [7, 20, 3, 1, 0, 1, 10]


def test_held_out_follows_its_seed():
    expressions = np.tile(np.arange(7), 30)
    unknown = np.full(210, "")
    first = held_out(expressions, unknown, fraction=0.2, seed=0)
    np.testing.assert_array_equal(first, held_out(expressions, unknown, fraction=0.2, seed=0))
    assert (first != held_out(expressions, unknown, fraction=0.2, seed=1)).any()


@pytest.mark.parametrize("seed", range(5))
def test_held_out_keeps_people_together(seed):
    rng = np.random.default_rng(seed)
    identities = np.array([f"p{number}" for number in rng.integers(0, 80, 600)], dtype=object)
    expressions = rng.choice(7, 600, p=[0.2, 0.4, 0.1, 0.03, 0.07, 0.05, 0.15])
    chosen = held_out(expressions, identities, fraction=0.1, seed=seed)
    assert not set(identities[chosen]) & set(identities[~chosen])
    assert set(expressions[chosen]) == set(expressions[~chosen]) == set(range(7))
    assert 0.07 < chosen.mean() < 0.16
