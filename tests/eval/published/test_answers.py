"""All eleven methods, imported from folders in the authors' form, give what the published code gives.

The folders' weights follow from a formula (`tests.support.formula`); the answers lie in tests/golden/published.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from au_guidance.loss import attention, au_loss
from eval.metrics.cosines import attention_canvas, cam_canvas, map_cosine, min_max
from eval.published.methods import METHODS, tensor_name
from tests.support import formula
from tests.support.oracle import answers_of, released_shapes
from tests.support.released import published_shapes, write_config
from train.checkpoints.checkpoint import Loaded
from train.methods.base import Batch


@dataclass
class Imported:
    """A network, two images, their heatmaps, and what the published code answers for them."""

    name: str
    network: Loaded
    answers: dict[str, np.ndarray]
    batch: Batch


@pytest.fixture(scope="module", params=METHODS)
def imported(request, load_released):
    network = load_released(request.param)
    size, answers = network.card.model.image_size, answers_of(request.param)
    images, heatmaps = torch.from_numpy(formula.images(size)), torch.from_numpy(formula.heatmaps(size))
    targets = torch.eye(7)[torch.from_numpy(answers["targets"])]
    batch = Batch(images, targets, heatmaps, torch.ones(2, dtype=torch.bool))
    return Imported(request.param, network, answers, batch)


def close_to_range(maps, expected, share):
    np.testing.assert_allclose(maps.detach(), expected, rtol=0, atol=share * np.ptp(expected))


@pytest.mark.slow
def test_logits_maps_and_cosines(imported):
    method, card, answers = imported.network.method, imported.network.card, imported.answers
    images, size = imported.batch.images, card.model.image_size
    with torch.set_grad_enabled(method.needs_gradient):
        output = method(images)
        cams = [method.cam(output, torch.tensor([label, label])) for label in range(7)]
        cam = method.cam(output, torch.from_numpy(answers["targets"]))
    np.testing.assert_allclose(output.logits.detach(), answers["logits"], atol=1e-4)
    # 1e-4 of the range: APViT's reaches 170, where processors that add in another order differ by 2e-3.
    close = 1e-4 * max(1, np.ptp(answers["att"]))
    seen = attention(output.features[int(answers["att_layer"])]).detach()
    np.testing.assert_allclose(seen, answers["att"], atol=close)
    if "att_rollup" in answers:
        np.testing.assert_allclose(output.features[2].detach(), answers["att_rollup"], atol=1e-6)
    close_to_range(cam, answers["cam_raw"], 1e-4)
    close_to_range(torch.stack(cams, 1), answers["cam_all"], 1e-4)
    normalised = min_max(cam)
    np.testing.assert_allclose(normalised, answers["cam_norm"], atol=1e-3)
    layers = [value.detach() for value in (images, *output.features.values())]
    strengths = np.stack([value.abs().mean((1, 2, 3)) for value in layers])
    np.testing.assert_allclose(strengths, answers["features_abs_mean"][: len(layers)], rtol=1e-4)
    canvases = [attention_canvas(attention(one), size, card.guidance.resize) for one in layers]
    canvases.append(cam_canvas(normalised, size))
    cosines = np.stack([map_cosine(one, imported.batch.heatmaps) for one in canvases], 1)
    np.testing.assert_allclose(cosines, answers["cosines_layers_then_cam"], atol=1e-3)


@pytest.mark.slow
def test_losses_and_gradients(imported):
    method, guidance = imported.network.method, imported.network.card.guidance
    batch, answers = imported.batch, imported.answers
    output = method(batch.images, batch.target)
    classified = method.classification_loss(output, batch.target)
    how = {"layers": guidance.layers, "reduction": guidance.reduction, "resize_mode": guidance.resize}
    aligned = guidance.weight * au_loss(output.features, batch.heatmaps, batch.valid, **how)
    (classified + aligned).backward()
    assert classified.item() == pytest.approx(float(answers["loss_ce"]), rel=1e-3)
    assert aligned.item() == pytest.approx(float(answers["loss_align_weighted"]), rel=1e-3)
    assert (classified + aligned).item() == pytest.approx(float(answers["loss_total"]), rel=1e-3)
    norms = {
        tensor_name(METHODS[imported.name], name): -1.0 if value.grad is None else value.grad.norm().item()
        for name, value in method.named_parameters()
    }
    expected = dict(zip(answers["grad_names"].tolist(), answers["grad_norms"].tolist(), strict=True))
    assert {name: norms[name] for name in expected} == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_tensors_are_called_as_in_the_archive(method, tmp_path):
    assert published_shapes(write_config(tmp_path, method)) == released_shapes(method)
