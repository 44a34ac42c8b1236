"""What other people's code may use: the AU loss on anybody's network, and a checkpoint that explains."""

import re
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torchvision.models.feature_extraction import create_feature_extractor

from au_guidance import Expression, attention, au_loss, cosine, render, render_batch, resize
from eval.api import load, read_picture
from eval.export.export import export
from pipeline.errors import UserError
from pipeline.storage import images
from tests.support.faces import mean_face
from tests.support.paths import ROOT

NAMES = ["happiness", "neutral", "fear"]
SIZE = 64


def test_render_draws_what_the_paper_draws():
    points = np.stack([mean_face(), mean_face(), np.full((68, 2), np.nan)])
    maps, valid = render_batch(points, NAMES, 224, geometry="symmetric")
    assert valid.tolist() == [True, False, False]
    expected = render(mean_face(), Expression.HAPPINESS, 224, geometry="symmetric")
    np.testing.assert_array_equal(maps[0], expected)
    assert not maps[1:].any()
    again, _ = render_batch(points, [int(Expression.parse(name)) for name in NAMES], 224, geometry="symmetric")
    np.testing.assert_array_equal(maps, again)
    with pytest.raises(ValueError, match="3 expressions need landmarks"):
        render_batch(points[:2], NAMES, 224)
    with pytest.raises(ValueError, match="unknown expression 'joy'"):
        render_batch(points[:1], ["joy"], 224)
    assert render_batch(np.zeros((0, 68, 2)), [], 32)[0].shape == (0, 32, 32)


def test_the_loss_by_hand():
    """1 - <A, M> / (|A| |M|), over the valid faces; layers are added."""
    chance = np.random.default_rng(0)
    features, maps = chance.random((3, 4, 8, 8)), chance.random((3, 8, 8))
    valid = torch.tensor([True, False, True])
    terms = []
    for face in (0, 2):
        looked = features[face].mean(0).ravel()
        terms.append(1 - looked @ maps[face].ravel() / np.linalg.norm(looked) / np.linalg.norm(maps[face]))
    given = torch.from_numpy(features).float().requires_grad_()
    heatmaps = torch.from_numpy(maps).float()
    loss = au_loss(given, heatmaps, valid)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)
    assert au_loss({1: given, 4: given}, heatmaps, valid).item() == pytest.approx(2 * np.mean(terms), rel=1e-5)
    loss.backward()
    assert given.grad[0].abs().sum() > 0
    assert given.grad[1].abs().sum() == 0
    np.testing.assert_allclose(attention(given.detach()), features.mean(1), rtol=1e-5)


@pytest.fixture(scope="module")
def picture(trained):
    """A drawn face, as a path."""
    return next((trained / "generated").rglob("*_happiness_0.jpg"))


@pytest.fixture(scope="module")
def explainer(trained):
    return load(trained / "run" / "checkpoint.safetensors")


def test_a_checkpoint_explains_an_array(explainer, picture):
    (face,) = explainer.explain(images.read(picture))
    assert face.label in face.words[0]
    assert set(face.cams) == set(face.ranked[:2])
    (face,) = explainer.explain(images.read(picture), every_class=True)
    assert set(face.cams) == set(face.ranked)


def test_a_run_and_a_folder_for_the_hub_give_the_same_answers(trained, explainer, picture, tmp_path):
    export(trained / "run" / "checkpoint.safetensors", hub=tmp_path / "hub")
    (expected,) = explainer.explain(picture)
    for path in (trained / "run", str(tmp_path / "hub"), tmp_path / "hub" / "model.safetensors"):
        loaded = load(path)
        assert loaded.temperature == explainer.temperature
        assert loaded.calibrated == explainer.calibrated
        assert loaded.alignment == explainer.alignment
        (face,) = loaded.explain(picture)
        assert face.probabilities == expected.probabilities
        np.testing.assert_array_equal(face.attention[5], expected.attention[5])


def test_what_is_no_network_is_one_line(trained, tmp_path):
    for path, message in (
        (tmp_path, "holds no network; give a checkpoint, the folder of a run"),
        (tmp_path / "absent", "does not exist; give a checkpoint"),
        (trained / "run.yaml", "is not a checkpoint"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(str(path))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    (tmp_path / "config.json").write_text('{"architectures": ["ViT"]}')
    with pytest.raises(UserError, match=r"holds no config\.json of python -m eval\.export"):
        load(tmp_path)


def test_a_picture_is_a_path_an_image_or_an_array(picture, tmp_path):
    pixels = images.read(picture)
    for same in (picture, str(picture), Image.open(picture), Image.fromarray(pixels), pixels):
        np.testing.assert_array_equal(read_picture(same), pixels)
    grey = pixels[..., 0]
    for same in (grey, Image.fromarray(grey)):
        np.testing.assert_array_equal(read_picture(same), np.repeat(grey[..., None], 3, 2))
    transparent = np.dstack([pixels, np.zeros_like(grey)])
    transparent[:10, :, 3] = 255
    for same in (transparent, Image.fromarray(transparent)):
        np.testing.assert_array_equal(read_picture(same)[:10], pixels[:10])
        assert (read_picture(same)[10:] == 255).all()


def test_an_image_that_was_taken_upright_is_turned(picture, tmp_path):
    turned = Image.fromarray(images.read(picture)[:, :80])
    turned.getexif()[0x0112] = 6  # a quarter turn clockwise makes it upright
    turned.save(tmp_path / "turned.png", exif=turned.getexif())
    expected = np.rot90(np.asarray(turned), -1)
    with Image.open(tmp_path / "turned.png") as opened:
        np.testing.assert_array_equal(read_picture(opened), expected)
        assert opened.getexif()[0x0112] == 6
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.png"), expected)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.zeros((9, 9, 3)), ValueError, "uint8 from 0 to 255, not float64"),
        (np.zeros((9, 9), np.uint16), ValueError, "not uint16"),
        (np.zeros((3, 9, 9), np.uint8), ValueError, r"grey \(h, w\), RGB .* not \(3, 9, 9\)"),
        (np.zeros((0, 9), np.uint8), ValueError, "not .0, 9."),
        (Image.new("F", (9, 9)), ValueError, "32-bit pixels"),
        (torch.zeros(3, 9, 9), TypeError, "not Tensor"),
        ("absent.jpg", UserError, "absent.jpg: unreadable: cannot be opened"),
    ],
)
def test_what_is_no_picture_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        read_picture(wrong)


@pytest.mark.slow
def test_the_example_runs_and_guidance_works():
    call = [sys.executable, "-m", "docs.examples.own_network", "--steps", "40", "--people", "3"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain, guided = map(float, re.findall(r"heatmap (\d\.\d+)", done.stdout))
    assert guided > plain + 0.05, done.stdout


def losses_of(network, features_of, steps):
    """Losses of a network that learns the maps of four faces on noise, and how alike its attention is afterwards."""
    names = ["happiness", "neutral", "fear", "sadness"]
    points = np.stack([(mean_face() + 0.5) * SIZE / 224 - 0.5] * 4)
    heatmaps, valid = map(torch.from_numpy, render_batch(points, names, SIZE))
    assert valid.tolist() == [True, False, True, True]
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    values = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = au_loss(features_of(images), heatmaps, valid)
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    with torch.no_grad():
        maps = attention(features_of(images))
    return values, cosine(maps, resize(heatmaps, maps.shape[-1]))[valid].mean().item()


def test_a_torchvision_network_learns_where_to_look():
    torch.manual_seed(0)
    network = create_feature_extractor(torchvision.models.resnet18(), {"layer2": "last"})
    values, alike = losses_of(network, lambda images: network(images)["last"], steps=8)
    assert values[-1] < 0.75 * values[0], values
    assert 1 - alike < 0.75 * values[0]


def test_a_timm_network_learns_where_to_look():
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", features_only=True, out_indices=(2,))
    values, _ = losses_of(network, lambda images: network(images)[0], steps=8)
    assert values[-1] < 0.75 * values[0], values
