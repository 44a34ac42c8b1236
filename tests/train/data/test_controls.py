"""The controls of the AU term: each map by hand or from the AU maps that it is made of, moved with the image."""

import numpy as np
import pytest
import torch

from au_guidance.expressions import SIX, Expression
from au_guidance.heatmap import render
from pipeline.errors import UserError
from pipeline.storage import shards
from tests.support.faces import CROP, mean_face
from train.card.schema import Card, Guidance, Heatmap
from train.data.batches import TrainingBatches
from train.data.controls import SHUFFLED, draw_control, landmark_map
from train.data.prepared import Prepared, part_rows
from train.data.transforms import N_UNIFORMS, augment_paper

CONTROLS = ("shuffled", "landmarks", "uniform", "agnostic")


@pytest.fixture(scope="module")
def prepared(prepared_folder):
    return Prepared(prepared_folder, Heatmap())


@pytest.fixture(scope="module")
def own_maps(prepared, prepared_folder):
    """The AU maps of all six expressions on one face, drawn from its landmarks: row -> expression -> map."""
    points = shards.read_all(prepared_folder / "landmarks")["points"]

    def draw(row):
        face = (points[row] + 0.5) * 224 / CROP - 0.5
        return {expression: render(face, expression, 224) for expression in SIX}

    return draw


def first(prepared, expression):
    return next(row for row in prepared.rows("train") if prepared.expressions[row] == expression)


def test_the_shuffling_leaves_no_class_its_own_map():
    assert SHUFFLED.keys() == set(SHUFFLED.values()) == set(SIX)
    assert all(SHUFFLED[SHUFFLED[expression]] == expression != SHUFFLED[expression] for expression in SIX)
    assert SHUFFLED[Expression.FEAR] != Expression.SURPRISE


@pytest.mark.parametrize("expression", SIX)
def test_shuffled_is_the_map_of_the_other_class_on_the_same_face(prepared, own_maps, expression):
    row = first(prepared, expression)
    drawn, maps = prepared.guidance_map(row, "shuffled"), own_maps(row)
    assert np.abs(drawn - maps[SHUFFLED[expression]]).max() <= 1 / 255
    assert np.abs(drawn - maps[expression]).max() > 0.2
    assert np.abs(prepared.guidance_map(row) - maps[expression]).max() <= 1 / 255


def test_agnostic_is_the_mean_of_the_six_whatever_the_class(prepared, own_maps):
    row = first(prepared, Expression.ANGER)
    drawn = prepared.guidance_map(row, "agnostic")
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, np.mean(list(own_maps(row).values()), 0), atol=1 / 255)
    settings, shapes = Heatmap(), prepared.shapes[row]
    np.testing.assert_array_equal(drawn, draw_control("agnostic", Expression.SURPRISE, shapes, settings))


def test_uniform_is_ones(prepared):
    np.testing.assert_array_equal(
        prepared.guidance_map(prepared.rows("test")[5], "uniform"), np.ones((224, 224), np.float32)
    )


def test_landmarks_by_hand():
    one = landmark_map(np.tile([100.0, 60.0], (68, 1)), sigma=8)
    assert one.dtype == np.float32
    assert one[60, 100] == 1
    assert one[60, 108] == one[68, 100] == pytest.approx(np.exp(-0.5), abs=1e-6)
    assert one[76, 84] == pytest.approx(np.exp(-4), abs=1e-6)
    two = landmark_map(np.array([[40.0, 40.0]] * 34 + [[180.0, 200.0]] * 34), sigma=8)
    assert two[40, 40] == two[200, 180] == 1
    assert two[40, 180] == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(landmark_map(np.full((68, 2), -5000.0)), np.zeros((224, 224)))


def test_landmarks_are_those_of_the_face(prepared, prepared_folder):
    row = first(prepared, Expression.FEAR)
    points = shards.read_all(prepared_folder / "landmarks")["points"][row].astype(float)
    np.testing.assert_allclose(prepared.guidance_map(row, "landmarks"), landmark_map((points + 0.5) * 224 / CROP - 0.5))


def test_a_map_outside_the_image_is_zeros():
    shapes = np.full((50, 5), [-900.0, -900.0, 5.0, 5.0, 0.0])
    assert not draw_control("shuffled", Expression.FEAR, shapes, Heatmap()).any()


def test_the_same_faces_are_guided_in_all(prepared):
    rows = range(len(prepared.ids))
    there = [prepared.heatmap(row) is not None for row in rows]
    for kind in CONTROLS:
        assert [prepared.guidance_map(row, kind) is not None for row in rows] == there
    assert prepared.guidance_map(list(prepared.ids).index("train_005"), "uniform") is None


def test_shards_of_different_images_are_refused(prepared_folder, tmp_path):
    for stage in ("faces", "heatmaps", "landmarks"):
        for path in (prepared_folder / stage).glob("*.h5"):
            shard = shards.Shard(path)
            columns = shard.columns()
            if stage == "landmarks":
                columns["id"] = columns["id"][::-1]
            shards.write(tmp_path / stage / path.name, columns, of=2, **shard.attributes)
    prepared = Prepared(tmp_path, Heatmap())
    with pytest.raises(UserError, match="faces/ and landmarks/ list different images"):
        prepared.guidance_map(int(np.flatnonzero(prepared.expressions == Expression.FEAR)[0]), "landmarks")


@pytest.mark.parametrize("kind", CONTROLS)
def test_the_map_is_cut_and_mirrored_with_the_image(prepared, make_card, kind):
    card = make_card(model__image_size=224)
    rows = part_rows(prepared, card, "train")
    guided = make_card(model__image_size=224, guidance__map=kind)
    (own, shown), (other, same) = (
        next(TrainingBatches(prepared, one, rows, torch.device("cpu")).epoch(0)) for one in (card, guided)
    )
    np.testing.assert_array_equal(shown, same)
    assert torch.equal(own.images, other.images)
    assert torch.equal(own.valid, other.valid)
    rng = np.random.default_rng([card.seed, 0])
    np.testing.assert_array_equal(rng.permutation(rows)[: len(shown)], shown)
    drawn = torch.from_numpy(rng.random((len(prepared.ids), N_UNIFORMS), np.float32)[shown])
    for number, row in enumerate(shown):
        if not own.valid[number]:
            assert not other.heatmaps[number].any()
            continue
        for card_map, cut in (("own", own.heatmaps[number]), (kind, other.heatmaps[number])):
            given = torch.from_numpy(prepared.guidance_map(int(row), card_map))[None]
            faces = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
            expected = augment_paper(faces, given, drawn[number : number + 1].numpy(), 224, torch.Generator())[1][0]
            torch.testing.assert_close(cut, expected, rtol=0, atol=3e-4)  # maps are kept in half precision
        assert (own.heatmaps[number] - other.heatmaps[number]).abs().max() > 0.1


def test_a_mirrored_face_has_a_mirrored_landmark_map():
    points = mean_face() + np.random.default_rng(0).normal(0, 5, (68, 2))
    mirrored = np.array([223.0, 0.0]) + points * np.array([-1.0, 1.0])
    np.testing.assert_allclose(landmark_map(mirrored), landmark_map(points)[:, ::-1], atol=1e-6)


def test_a_card_without_a_control_is_the_card_of_before(make_card):
    own, draw_control = make_card(), make_card(guidance__map="shuffled")
    assert "map" not in own.model_dump()["guidance"]
    assert '"map"' not in own.line()
    assert own.digest() == make_card(guidance__map="own").digest() != draw_control.digest()
    assert Card.model_validate_json(draw_control.model_dump_json()) == draw_control
    assert Card.model_validate_json(own.model_dump_json()).guidance.map == "own"
    assert Guidance(weight=1, map="uniform").model_dump(exclude={"weight"})["map"] == "uniform"
    assert draw_control.model_dump(exclude={"guidance": {"map": True}})["guidance"] == own.model_dump()["guidance"]
