"""Batches: the same for a seed wherever faces lie and maps are drawn, every face once, evaluation in order."""

import threading

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from train.card.schema import Heatmap
from train.data.au_maps import Renderer
from train.data.batches import EvaluationBatches, TrainingBatches
from train.data.faces import FaceStore, Threads, choose_place, prefetch
from train.data.prepared import Prepared, part_rows
from train.data.transforms import evaluation_input, resize_face

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(prepared_folder):
    return Prepared(prepared_folder, Heatmap())


@pytest.fixture
def steps(prepared, make_card):
    def take(epoch=0, **changes):
        card = make_card(**{"training__augmentation": "published", **changes})
        return list(TrainingBatches(prepared, card, part_rows(prepared, card, "train"), CPU).epoch(epoch))

    return take


def assert_equal(one, other):
    for (first, rows), (second, same) in zip(one, other, strict=True):
        np.testing.assert_array_equal(rows, same)
        for name in ("images", "target", "heatmaps", "valid"):
            assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_a_device_gives_the_batches_of_the_host(steps, monkeypatch):
    """A CPU that is treated as a device with memory of its own: faces are gathered there, and not prefetched."""
    here = steps(3)
    monkeypatch.setattr("train.data.faces.choose_place", lambda place, size, device: "device")
    monkeypatch.setattr("train.data.faces.FaceStore.on_host", lambda self, rows, pool: None)
    assert_equal(here, steps(3))


@pytest.mark.parametrize("size", [64, 224])
def test_a_device_draws_the_maps_of_the_host(prepared, make_card, size):
    card = make_card(model__image_size=size)
    rows = part_rows(prepared, card, "train")
    here, there = (TrainingBatches(prepared, card, rows, CPU) for _ in range(2))
    there.guidance_maps.renderer = Renderer(prepared.shapes, prepared.expressions, card.heatmap, CPU)
    for (first, _), (second, _) in zip(here.epoch(0), there.epoch(0), strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.valid, second.valid)
        torch.testing.assert_close(first.heatmaps, second.heatmaps, rtol=0, atol=1e-3)  # kept in half precision


@pytest.mark.parametrize("changes", [{"faces": "stream"}, {"workers": 2}, {"faces": "stream", "workers": 3}])
@pytest.mark.parametrize("augmentation", ["paper", "published"])
def test_places_and_threads_change_nothing(steps, augmentation, changes):
    settings = {f"training__{key}": value for key, value in changes.items()}
    here = steps(3, training__augmentation=augmentation)
    assert_equal(here, steps(3, training__augmentation=augmentation, **settings))


def test_batches_follow_seed_and_epoch(steps):
    assert_equal(steps(3), steps(3))
    first = steps(3)[0]
    for other in (steps(4)[0], steps(3, seed=1)[0]):
        assert (first.rows != other.rows).any()
        assert not torch.equal(first.batch.images, other.batch.images)


def test_maps_drawn_once_stay_the_same(prepared, make_card, monkeypatch):
    card = make_card()
    batches = TrainingBatches(prepared, card, part_rows(prepared, card, "train"), CPU)
    first = list(batches.epoch(0))
    monkeypatch.setattr(prepared, "guidance_map", lambda row, kind: pytest.fail("drawn again"))
    assert_equal(first, list(batches.epoch(0)))


def test_no_more_maps_are_kept_than_there_is_room_for(prepared, make_card, monkeypatch):
    monkeypatch.setattr("train.data.au_maps.free_memory", lambda device: 10 * 5 * 2 * 73 * 73)
    card = make_card()
    batches = TrainingBatches(prepared, card, part_rows(prepared, card, "train"), CPU)
    first = list(batches.epoch(0))
    assert len(batches.guidance_maps.drawn) == 5
    assert_equal(first, list(batches.epoch(0)))


def test_an_epoch_shows_every_face_once(prepared, make_card):
    card = make_card()
    rows = part_rows(prepared, card, "train")
    batches = TrainingBatches(prepared, card, rows, CPU)
    seen = list(batches.epoch(0))
    assert sorted(np.concatenate([step.rows for step in seen])) == sorted(rows)
    assert len(seen) == len(batches)
    assert [len(step.rows) for step in seen] == [8] * (len(rows) // 8) + ([len(rows) % 8] if len(rows) % 8 else [])
    batch, shown = seen[0]
    assert batch.images.shape == (8, 3, 64, 64)
    assert batch.heatmaps.shape == (8, 64, 64)
    np.testing.assert_array_equal(batch.target.argmax(1), prepared.expressions[shown])
    np.testing.assert_array_equal(batch.valid, [prepared.heatmap(row) is not None for row in shown])
    assert not batch.heatmaps[~batch.valid].any()


def test_plain_training_draws_no_heatmaps(steps, monkeypatch):
    monkeypatch.setattr("train.data.prepared.Prepared.guidance_map", lambda *_: pytest.fail("a map was drawn"))
    assert not any(step.batch.valid.any() for step in steps(guidance__weight=0.0))


def test_evaluation_goes_in_order(prepared, make_card):
    rows = prepared.rows("test")
    batches = EvaluationBatches(prepared, make_card(training__evaluation_batch_size=8), rows, CPU)
    for _ in range(2):
        images, classes = (torch.cat(parts) for parts in zip(*batches, strict=True))
        np.testing.assert_array_equal(classes, prepared.expressions[rows])
        expected = torch.stack([evaluation_input(prepared.image(row), 64) for row in rows])
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("place", ["host", "stream"])
def test_faces_are_those_of_their_rows(prepared, place):
    rows = prepared.rows("test")[::-1]
    (batch,) = FaceStore(prepared, rows, 48, CPU, place=place, threads=2).batches([rows[3:7]])
    for face, row in zip(batch, rows[3:7], strict=True):
        np.testing.assert_array_equal(face, resize_face(prepared.image(row), 48))


@pytest.mark.parametrize("place", ["host", "stream"])
def test_a_face_that_cannot_be_decoded_is_named(prepared, place):
    broken = list(prepared.ids).index("train_010")
    with pytest.raises(UserError, match="the stored face of train_010 cannot be decoded"):
        list(FaceStore(prepared, np.array([broken]), 48, CPU, place=place, threads=2).batches([np.array([broken])]))


def test_the_fastest_place_with_room_is_chosen(monkeypatch):
    free = {"cuda": 1000, "cpu": 3000}
    monkeypatch.setattr("train.data.faces.free_memory", lambda device: free[device.type])
    gpu = torch.device("cuda")
    assert [choose_place("auto", size, gpu) for size in (400, 401, 1200, 1201)] == ["device", "host", "host", "stream"]
    assert [choose_place("auto", size, CPU) for size in (1200, 1201)] == ["host", "stream"]
    assert [choose_place(place, 10**6, gpu) for place in ("device", "host", "stream")] == ["device", "host", "stream"]
    assert choose_place("device", 10**6, CPU) == "host"


@pytest.mark.parametrize("threaded", [False, True])
def test_work_ahead_keeps_its_order_and_its_errors(threaded):
    seen = []

    def work(number):
        if number == 6:
            raise ValueError("six")
        return number**2

    with pytest.raises(ValueError, match="six"):
        seen.extend(prefetch(work, range(10), threaded=threaded))
    assert seen == [0, 1, 4, 9, 16, 25]
    assert list(prefetch(work, range(6), threaded=threaded)) == seen


def test_prefetching_stops_when_no_more_batches_are_wanted():
    steps = prefetch(lambda number: number, iter(range(100)), threaded=True)
    assert next(steps) == 0
    steps.close()
    assert threading.active_count() < 20


@pytest.mark.parametrize("count", [0, 1, 3])
def test_threads_share_work_in_order(count):
    with Threads(count) as pool:
        assert pool.map(lambda number: -number, range(50)) == [-number for number in range(50)]
        with pytest.raises(ZeroDivisionError):
            pool.map(lambda number: 1 // number, [1, 0])
