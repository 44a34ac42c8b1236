"""The prepared dataset: what a row holds and who validates."""

import hashlib
from copy import copy

import numpy as np
import pytest

from au_guidance.expressions import Expression
from au_guidance.heatmap import render
from pipeline.errors import UserError
from pipeline.index import shard_of
from pipeline.storage import shards
from tests.support.faces import CROP
from train.card.schema import Heatmap
from train.data.prepared import Prepared, describe_validation, held_out, part_rows


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


def test_a_split_of_its_own_validates_unless_the_card_says_otherwise(prepared, make_card):
    """Every second test face becomes a validation face."""
    splits = prepared.splits.copy()
    splits[prepared.rows("test")[::2]] = "validation"
    own = copy(prepared)
    own.splits = splits
    card, seeded = make_card(), make_card(data__validation_split="seeded")
    np.testing.assert_array_equal(part_rows(own, card, "validation"), prepared.rows("test")[::2])
    np.testing.assert_array_equal(part_rows(own, card, "test"), prepared.rows("test")[1::2])
    np.testing.assert_array_equal(part_rows(own, card, "train"), prepared.rows("train"))
    np.testing.assert_array_equal(part_rows(own, seeded, "train"), part_rows(prepared, card, "train"))
    np.testing.assert_array_equal(part_rows(own, seeded, "validation"), part_rows(prepared, card, "validation"))
    paper = make_card(protocol="paper")
    np.testing.assert_array_equal(part_rows(own, paper, "validation"), part_rows(own, paper, "test"))
    np.testing.assert_array_equal(part_rows(own, paper, "train"), prepared.rows("train"))
    count = len(part_rows(prepared, card, "validation"))
    assert describe_validation(own, card) == "the dataset's own split, 11 faces"
    assert describe_validation(own, seeded) == f"20 % of the training set, seed 0, {count} faces"
    assert describe_validation(own, paper) == "the test set, 10 faces"
    asked = make_card(data__validation_split="own")
    assert describe_validation(own, asked) == "the dataset's own split, 11 faces"
    with pytest.raises(UserError, match=r"small has no validation split of its own; write seeded, or auto"):
        part_rows(prepared, asked, "train")


def test_cards_from_before_the_key_keep_their_digest(make_card):
    assert "validation_split" not in make_card().line()
    assert make_card(data__validation_split="seeded").digest() != make_card().digest()


@pytest.mark.parametrize("people", [True, False])
def test_validation_faces_do_not_depend_on_shards_or_on_an_unreadable_face(prepared, make_card, people):
    """The rows of 1, 4 and 16 shards, and one face that is damaged later, give the same validation faces."""
    card, chosen = make_card(), {}
    for count in (1, 4, 16):
        order = np.argsort([shard_of(name, count) for name in prepared.ids], kind="stable")
        divided = copy(prepared)
        for name in ("ids", "splits", "identities", "expressions", "readable"):
            setattr(divided, name, getattr(prepared, name)[order])
        if not people:
            divided.identities = np.full(len(order), "", object)
        chosen[count] = set(divided.ids[part_rows(divided, card, "validation")])
        broken = sorted(chosen[count])[1]
        divided.readable = divided.readable & (divided.ids != broken)
        assert set(divided.ids[part_rows(divided, card, "validation")]) == chosen[count] - {broken}
    assert chosen[1] == chosen[4] == chosen[16]


def test_the_order_of_people_is_the_same_on_every_machine():
    """The order is that of the hashes of "<seed> <person>", so these three faces of twelve are for ever the first."""
    ids = [f"{number}.jpg" for number in range(12)]
    chosen = held_out(ids, [""] * 12, np.zeros(12, int), fraction=0.25, seed=0)
    order = sorted(ids, key=lambda name: hashlib.sha256(f"0 face {name}".encode()).hexdigest())
    assert {name for name, one in zip(ids, chosen, strict=True) if one} == set(order[:3])


def test_held_out_is_stratified_exactly_when_people_are_unknown():
    sizes = [70, 200, 33, 2, 1, 5, 104]
    expressions = np.random.default_rng(0).permutation(np.repeat(np.arange(7), sizes))
    ids = [str(number) for number in range(len(expressions))]
    chosen = held_out(ids, np.full(len(expressions), ""), expressions, fraction=0.1, seed=3)
    assert np.bincount(expressions[chosen], minlength=7).tolist() == [7, 20, 3, 1, 0, 1, 10]


def test_held_out_follows_its_seed():
    expressions = np.tile(np.arange(7), 30)
    names = [str(number) for number in range(210)], np.full(210, "")
    first = held_out(*names, expressions, fraction=0.2, seed=0)
    np.testing.assert_array_equal(first, held_out(*names, expressions, fraction=0.2, seed=0))
    assert (first != held_out(*names, expressions, fraction=0.2, seed=1)).any()


@pytest.mark.parametrize("seed", range(5))
def test_held_out_keeps_people_together(seed):
    rng = np.random.default_rng(seed)
    identities = np.array([f"p{number}" for number in rng.integers(0, 80, 600)], dtype=object)
    expressions = rng.choice(7, 600, p=[0.2, 0.4, 0.1, 0.03, 0.07, 0.05, 0.15])
    chosen = held_out([str(number) for number in range(600)], identities, expressions, fraction=0.1, seed=seed)
    assert not set(identities[chosen]) & set(identities[~chosen])
    assert set(expressions[chosen]) == set(expressions[~chosen]) == set(range(7))
    assert 0.07 < chosen.mean() < 0.16


@pytest.fixture
def chained(prepared_folder, tmp_path):
    """The small dataset with shards that name those that they were made from."""
    made = {}
    for stage in ("faces", "landmarks", "heatmaps"):
        (tmp_path / stage).mkdir()
        for path in (prepared_folder / stage).glob("*.h5"):
            shard, out = shards.Shard(path), tmp_path / stage / path.name
            shards.write(out, shard.columns(), of=2, **shard.attributes, **made.get(path.name, {}))
            made.setdefault(path.name, {})[f"{stage}_sha256"] = shards.Shard(out).sha256
    return tmp_path


def again(path, **changes):
    """Write a shard again with other attributes, as a command that was called by hand does."""
    shard = shards.Shard(path)
    named = {f"{stage}_sha256": sha256 for stage, sha256 in shard.parents.items()}
    shards.write(path, shard.columns(), of=2, **shard.attributes | changes | named)


def test_shards_that_were_made_from_each_other_load(chained, prepared):
    read = Prepared(chained, Heatmap())
    np.testing.assert_array_equal(read.points, prepared.points)
    np.testing.assert_array_equal(read.shapes, prepared.shapes)


def test_faces_that_were_cut_again_are_refused_with_old_heatmaps(chained):
    for shard in range(2):
        again(chained / "faces" / f"{shard}.h5", mode="corrected")
    with pytest.raises(UserError, match=r"heatmaps/0\.h5 was made from another \S+faces/0\.h5; delete it"):
        Prepared(chained, Heatmap())


def test_landmarks_that_were_placed_again_are_refused_with_old_heatmaps(chained):
    for shard in range(2):
        again(chained / "landmarks" / f"{shard}.h5", extractor="mesh")
    read = Prepared(chained, Heatmap())
    with pytest.raises(UserError, match=r"heatmaps/0\.h5 was made from another \S+landmarks/0\.h5; delete it"):
        _ = read.points
