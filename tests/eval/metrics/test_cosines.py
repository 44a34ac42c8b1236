import numpy as np
import pytest
import torch

from au_guidance.expressions import Expression
from eval.metrics.cosines import aggregate, attention_canvas, cam_canvas, map_cosine, min_max
from tests.support import formula
from tests.support.oracle import RELEASED, answers_of, image_size

FEAR, ANGER, HAPPINESS, NEUTRAL = Expression.FEAR, Expression.ANGER, Expression.HAPPINESS, Expression.NEUTRAL


def test_map_cosine_by_hand() -> None:
    maps = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    heatmap = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).expand(3, 2, 2)
    assert map_cosine(maps, heatmap) == pytest.approx([0.6, 0.5, 0.0])


def test_scale_does_not_change_a_cosine() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, heatmaps = torch.rand(4, 7, 7, generator=generator), torch.rand(4, 7, 7, generator=generator)
    assert map_cosine(maps * 1e-3, heatmaps) == pytest.approx(map_cosine(maps, heatmaps), abs=1e-6)


def test_min_max_stretches_each_map_and_turns_constants_into_zeros() -> None:
    raw = torch.stack([torch.tensor([[-2.0, 0.0], [2.0, 6.0]]), torch.full((2, 2), 3.0), torch.zeros(2, 2)])
    expected = [[[0, 0.25], [0.5, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]
    assert min_max(raw).tolist() == expected


def test_min_max_has_no_epsilon() -> None:
    # Grad-CAM++ maps are this small in the published code.
    assert min_max(torch.tensor([[[0.0, 1e-8], [5e-9, 2e-8]]])).flatten().tolist() == pytest.approx([0, 0.5, 0.25, 1])


def test_min_max_treats_non_finite_values_as_the_published_code() -> None:
    assert min_max(torch.full((1, 2, 2), torch.nan)).tolist() == [[[0, 0], [0, 0]]]


def test_cam_canvas_is_half_pixel_bilinear() -> None:
    # Centres of 2 cells lie at 0.5 and 2.5 of 4 pixels: a pixel in between mixes them 3 to 1.
    row = cam_canvas(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), 4)[0, 0]
    assert row.tolist() == pytest.approx([0, 0.25, 0.75, 1])


def test_cam_canvas_does_not_stretch_again() -> None:
    peak = torch.zeros(1, 7, 7)
    peak[0, 3, 3] = 1
    assert cam_canvas(peak, 224).max() == pytest.approx((1 - 0.5 / 32) ** 2)


def test_attention_canvas_keeps_a_positive_minimum_and_lifts_a_negative_one() -> None:
    positive = torch.tensor([[[1.0, 2.0], [1.0, 2.0]]])
    assert attention_canvas(positive, 4, "half_pixel")[0, 0].tolist() == pytest.approx([1, 1.25, 1.75, 2])
    negative = torch.tensor([[[-1.0, 1.0], [-1.0, 1.0]]])
    assert attention_canvas(negative, 4, "half_pixel")[0, 0].tolist() == pytest.approx([0, 0.5, 1.5, 2])


def published_resize(values: np.ndarray, size: int) -> np.ndarray:
    """The kernel of the published code, in one dimension and double precision."""
    count = len(values)
    step = (count - 1) / (size - 1)
    support = max(step, 1.0)
    out = []
    for index in range(size):
        centre = step * (index + 0.5)
        taps = np.arange(max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), count))
        weights = np.maximum(0, 1 - np.abs(taps - centre + 0.5) / support)
        out.append((weights * values[taps]).sum() / weights.sum())
    return np.array(out)


def test_published_resize_has_its_own_values() -> None:
    values = np.array([0.0, 1.0, 0.5])
    maps = torch.tensor(np.tile(values, (3, 1)), dtype=torch.float32)[None]
    published = attention_canvas(maps, 8, "published")[0, 0].numpy()
    corrected = attention_canvas(maps, 8, "half_pixel")[0, 0].numpy()
    assert published == pytest.approx(published_resize(values, 8), abs=1e-6)
    assert corrected == pytest.approx(np.interp((np.arange(8) + 0.5) * 3 / 8 - 0.5, [0, 1, 2], values), abs=1e-6)
    assert np.abs(published - corrected).max() > 0.1


def test_aggregate_is_macro_over_six_and_micro_over_images() -> None:
    cosines = np.array([0.2, 0.4, 0.9, 1.0, np.nan, 0.0])
    expressions = np.array([FEAR, FEAR, ANGER, NEUTRAL, FEAR, HAPPINESS])
    valid = np.array([True, True, True, True, False, True])
    result = aggregate(cosines, expressions, valid)
    assert result.per_class == pytest.approx({FEAR: 0.3, ANGER: 0.9, HAPPINESS: 0.0})
    assert result.macro == pytest.approx(0.4)
    assert result.micro == pytest.approx(1.5 / 4)


def test_aggregate_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="heatmap"):
        aggregate(np.array([0.5]), np.array([NEUTRAL]), np.array([True]))


@pytest.mark.parametrize("method", RELEASED)
def test_cosines_of_the_published_code(method: str) -> None:
    """TS-CAM's features are negative in places, so it tests the shift."""
    answers, size = answers_of(method), image_size(method)
    heatmaps = torch.from_numpy(formula.heatmaps(size))
    expected = answers["cosines_layers_then_cam"]
    canvas = attention_canvas(torch.from_numpy(answers["att"]), size, "published")
    attention_cosine = map_cosine(canvas, heatmaps)
    assert attention_cosine == pytest.approx(expected[:, answers["att_layer"]], abs=1e-5)
    cam = cam_canvas(torch.from_numpy(answers["cam_norm"]), size)
    assert map_cosine(cam, heatmaps) == pytest.approx(expected[:, -1], abs=1e-5)


def test_small_golden_cosines() -> None:
    # Worked out once from the formulas in double precision with numpy.
    cell = np.arange(49).reshape(1, 7, 7)
    maps = torch.tensor(np.sin(cell) - 0.3, dtype=torch.float32)
    heatmaps = torch.from_numpy(formula.heatmaps(224))[:1]
    canvases = [
        attention_canvas(maps, 224, "half_pixel"),
        attention_canvas(maps, 224, "published"),
        cam_canvas(min_max(maps), 224),
    ]
    cosines = [map_cosine(canvas, heatmaps)[0] for canvas in canvases]
    assert cosines == pytest.approx([0.2124509, 0.1546782, 0.2124509], abs=1e-5)
