"""The AU term: Eq. 1 and 2 by hand, the resizing of the published code by its kernel, its loss by its own answer."""

import numpy as np
import pytest
import torch

from au_guidance.loss import attention, au_loss, cosine, resize
from tests.support import formula
from tests.support.oracle import RELEASED, answers_of, image_size


def kernel(size_in: int, size_out: int, step: float) -> np.ndarray:
    """Weights (out, in) of the antialiased bilinear filter, as the published code defines it."""
    weights = np.zeros((size_out, size_in))
    support = max(step, 1.0)
    for i in range(size_out):
        centre = step * (i + 0.5)
        taps = np.arange(max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size_in))
        weights[i, taps] = np.maximum(0, 1 - np.abs(taps - centre + 0.5) / support)
    return weights / weights.sum(1, keepdims=True)


def test_attention_is_the_mean_over_channels():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 6.0]]]])
    assert torch.equal(attention(features), torch.tensor([[[2.0, 4.0]]]))


def test_attention_sums_half_precision_in_float32():
    features = torch.full((1, 4096, 1, 1), 1.0, dtype=torch.bfloat16)
    features[0, 0] = 3.0
    assert attention(features).dtype == torch.float32
    assert attention(features).item() == pytest.approx(1 + 2 / 4096, abs=1e-7)


def test_cosine_by_hand():
    a = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    b = torch.tensor([[[4.0, 3.0]], [[-2.0, 0.0]], [[1.0, 1.0]]])
    torch.testing.assert_close(cosine(a, b), torch.tensor([0.96, -1.0, 0.0]))


def test_half_pixel_by_hand():
    # cell 0 of 4 -> 2 is centred between the pixels 0 and 1: triangle weights 0.75, 0.75, 0.25 over the pixels 0, 1, 2
    row = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(1, 4, 4)
    torch.testing.assert_close(resize(row, 2)[0, 0], torch.tensor([1.25 / 1.75, 3 - 1.25 / 1.75]))


def test_half_pixel_keeps_places_where_published_shifts_them():
    ramp = torch.arange(224.0).expand(1, 224, 224)
    half, published = resize(ramp, 28)[0, 0], resize(ramp, 28, "published")[0, 0]
    inner = torch.arange(1, 27)
    torch.testing.assert_close(half[1:27], (inner + 0.5) * 8 - 0.5)
    torch.testing.assert_close(published[1:26], ((inner + 0.5) * 223 / 27 - 0.5)[:25], rtol=0, atol=0.05)


@pytest.mark.parametrize(("size_in", "size_out"), [(224, 28), (224, 7), (112, 14), (28, 224), (30, 11), (224, 112)])
@pytest.mark.parametrize("mode", ["published", "half_pixel"])
def test_resize_equals_the_kernel(size_in, size_out, mode):
    row, column = np.mgrid[:size_in, :size_in] / size_in
    maps = np.stack([np.exp(-((row - y) ** 2 + (column - x) ** 2) / 0.02) for y, x in ((0.9, 0.3), (0.2, 0.95))])
    step = (size_in - 1) / (size_out - 1) if mode == "published" else size_in / size_out
    weights = kernel(size_in, size_out, step)
    expected = weights @ maps @ weights.T
    resized = resize(torch.from_numpy(maps).float(), size_out, mode).numpy()
    np.testing.assert_allclose(resized, expected, atol=1e-6)


def test_resize_names_an_unknown_mode():
    with pytest.raises(ValueError, match="half_pixel or published"):
        resize(torch.zeros(1, 4, 4), 2, "area")


def test_loss_by_hand_counts_valid_faces_only():
    features = {5: torch.tensor([[[[3.0, 4.0], [0.0, 0.0]]], [[[1.0, 0.0], [0.0, 0.0]]], [[[5.0, 1.0], [1.0, 1.0]]]])}
    heatmaps = torch.tensor([[[4.0, 3.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]], [[float("inf")] * 2] * 2])
    loss = au_loss(features, heatmaps, torch.tensor([True, True, False]), layers=[5])
    assert loss.item() == pytest.approx((0.04 + 1.0) / 2, abs=1e-6)


def test_layers_are_summed_or_averaged():
    torch.manual_seed(0)
    features = {4: torch.rand(2, 3, 8, 8), 5: torch.rand(2, 3, 4, 4)}
    maps = torch.rand(2, 16, 16), torch.tensor([True, True])
    single = [au_loss(features, *maps, layers=[layer]).item() for layer in (4, 5)]
    assert au_loss(features, *maps, layers=[4, 5]).item() == pytest.approx(sum(single), abs=1e-6)
    assert au_loss(features, *maps, layers=[4, 5], reduction="mean").item() == pytest.approx(sum(single) / 2, abs=1e-6)


@pytest.mark.parametrize("filling", [0.0, float("nan")])
def test_no_valid_face_gives_zero_and_zero_gradients(filling):
    features = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = au_loss({5: features}, torch.full((2, 8, 8), filling), torch.tensor([False, False]), layers=[5])
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("filling", [float("nan"), float("inf")])
def test_an_invalid_face_with_broken_features_changes_nothing(filling):
    torch.manual_seed(0)
    features, heatmaps = torch.rand(2, 3, 4, 4), torch.rand(2, 8, 8)
    broken = features.clone()
    broken[1] = filling
    results = []
    for values in (features, broken):
        leaf = values.requires_grad_()
        loss = au_loss({5: leaf}, heatmaps, torch.tensor([True, False]), layers=[5])
        loss.backward()
        results.append((loss.item(), leaf.grad))
    (expected, gradient), (loss, loss_gradient) = results
    assert loss == expected == pytest.approx(1 - cosine(attention(features), resize(heatmaps, 4))[0].item())
    assert torch.equal(loss_gradient, gradient)
    assert torch.equal(loss_gradient[1], torch.zeros(3, 4, 4))


def test_unknown_layers_and_reductions_are_named():
    features, maps = {4: torch.rand(1, 3, 4, 4), 5: torch.rand(1, 3, 2, 2)}, (torch.rand(1, 8, 8), torch.tensor([True]))
    with pytest.raises(ValueError, match="there is no layer 3; the features are of 4, 5"):
        au_loss(features, *maps, layers=[5, 3])
    with pytest.raises(ValueError, match="unknown reduction 'max': sum or mean"):
        au_loss(features, *maps, layers=[5], reduction="max")


def test_dead_features_have_finite_gradients():
    features = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = au_loss({5: features}, torch.rand(1, 8, 8), torch.tensor([True]), layers=[5])
    loss.backward()
    assert loss.item() == 1
    assert torch.isfinite(features.grad).all()


def test_gradient_equals_finite_differences():
    torch.manual_seed(0)
    features = torch.rand(2, 2, 3, 3)
    maps = torch.rand(2, 9, 9), torch.tensor([True, False])
    leaf = features.clone().requires_grad_()
    au_loss({5: leaf}, *maps, layers=[5]).backward()
    step = torch.zeros_like(features)
    step[0, 1, 2, 0] = 1e-2
    difference = au_loss({5: features + step}, *maps, layers=[5]) - au_loss({5: features - step}, *maps, layers=[5])
    assert leaf.grad[0, 1, 2, 0].item() == pytest.approx(difference.item() / 2e-2, rel=1e-2)
    assert torch.equal(leaf.grad[1], torch.zeros_like(leaf.grad[1]))


def test_autocast_does_not_touch_the_term():
    torch.manual_seed(0)
    features, maps = torch.rand(2, 8, 4, 4), (torch.rand(2, 32, 32), torch.tensor([True, True]))
    with torch.autocast("cpu", torch.bfloat16):
        inside = au_loss({5: features}, *maps, layers=[5])
    assert inside.dtype == torch.float32
    assert inside.item() == au_loss({5: features}, *maps, layers=[5]).item()


@pytest.mark.parametrize("method", [method for method in RELEASED if method != "CutMIX"])  # which aligns layer 4
def test_loss_of_the_published_code(method):
    answers = answers_of(method)
    features = torch.from_numpy(answers["att"])[:, None]  # one channel is its own mean
    heatmaps = torch.from_numpy(formula.heatmaps(image_size(method)))
    term = au_loss(features, heatmaps, torch.tensor([True, True]), reduction="mean", resize_mode="published")
    expected = answers["loss_align_weighted"] / answers["align_lambda"]
    assert term.item() == pytest.approx(float(expected), abs=1e-6)


def test_one_layer_may_be_given_as_a_tensor_and_all_layers_are_the_default():
    torch.manual_seed(0)
    features, heatmaps, valid = torch.rand(2, 3, 4, 4), torch.rand(2, 8, 8), torch.tensor([True, True])
    alone = au_loss(features, heatmaps, valid)
    assert alone.item() == au_loss({7: features}, heatmaps, valid, layers=[7]).item()
    assert au_loss({1: features, 2: features}, heatmaps, valid).item() == pytest.approx(2 * alone.item())


def test_rectangular_maps_by_hand():
    """A picture twice as wide as high: features (2, 4) meet a heatmap (4, 8) averaged over its 2 x 2 blocks."""
    torch.manual_seed(0)
    features, grid = torch.rand(1, 3, 2, 4), torch.rand(2, 4)
    heatmaps = grid.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    shrunk = resize(heatmaps, (2, 4))
    looked = features[0].mean(0).flatten()
    expected = 1 - looked @ shrunk.flatten() / looked.norm() / shrunk.norm()
    assert au_loss(features, heatmaps, torch.tensor([True])).item() == pytest.approx(expected.item(), abs=1e-6)
    transposed = au_loss(features.transpose(2, 3), heatmaps.transpose(1, 2), torch.tensor([True]))
    assert transposed.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("features", "heatmaps", "valid", "reason"),
    [
        (torch.rand(2, 4, 4), torch.rand(2, 8, 8), torch.ones(2, dtype=torch.bool), r"features \(2, c, h, w\)"),
        (torch.rand(3, 1, 4, 4), torch.rand(2, 8, 8), torch.ones(2, dtype=torch.bool), r"not \(3, 1, 4, 4\)"),
        (torch.rand(2, 1, 4, 4), torch.rand(2, 1, 8, 8), torch.ones(2, dtype=torch.bool), "heatmaps"),
        (torch.rand(2, 1, 4, 4), torch.rand(2, 8, 8), torch.ones(2), "valid must be bool"),
        ({}, torch.rand(2, 8, 8), torch.ones(2, dtype=torch.bool), "no layer to align"),
    ],
)
def test_shapes_that_do_not_fit_are_named(features, heatmaps, valid, reason):
    with pytest.raises(ValueError, match=reason):
        au_loss(features, heatmaps, valid)
