"""The worked examples of docs/extend.md: a copy of the project contains and uses each of them."""

import shutil
import subprocess
import sys

import pytest

from au_guidance.expressions import Expression, codebook
from pipeline.plugins import names
from tests.support.pages import FAMILY, blocks
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project's code and add the files of docs/extend.md."""
    copy = tmp_path_factory.mktemp("project")
    skipped = shutil.ignore_patterns("__pycache__", "golden", "slurm")
    for package in ("au_guidance", "pipeline", "train", "eval", "workflow", "tests"):
        shutil.copytree(ROOT / package, copy / package, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for place, text in blocks("extend").items():
        if place == FAMILY:
            family = copy / "tests" / "support" / "family.py"
            entry = text.partition("\n")[2]
            family.write_text(family.read_text().replace("FAMILY = {\n", f"FAMILY = {{\n{entry}", 1))
        else:
            assert not (copy / place).exists(), f"{place} is there already"
            (copy / place).write_text(text, encoding="utf-8")
    return copy


def python(project, *arguments):
    call = [sys.executable, *map(str, arguments)]
    done = subprocess.run(call, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_there_is_one_example_of_each_kind(project):
    families = {place.rpartition("/")[0] for place in blocks("extend") if "/" in place}
    plugins = {
        "pipeline/sources",
        "pipeline/detectors",
        "pipeline/extractors",
        "au_guidance/codebooks",
        "train/methods",
    }
    assert families == {*plugins, "tests/support"}


def test_the_examples_are_in_the_style_of_the_project(project):
    files = [place for place in blocks("extend") if place.endswith(".py")]
    assert len(files) == 4
    for arguments in (("check",), ("format", "--check")):
        python(project, "-m", "ruff", *arguments, *files)


PREPARATION = """
import csv, sys
from pathlib import Path
import cv2, numpy as np
from au_guidance.expressions import SIX, Expression, codebook
from au_guidance.heatmap import render
from pipeline import align, index, landmarks
from pipeline.errors import UserError
from pipeline.storage import shards

folder, truth = Path(sys.argv[1]), Path(sys.argv[2])
drawn = list(csv.DictReader(truth.open()))
lines = [["file", "expression", "split", "person"]]
(folder / "faces").mkdir()
for row in drawn:
    dark = cv2.imread(str(truth.parent / row["path"])) // 3
    cv2.imwrite(str(folder / "faces" / f"{row['id']}.png"), dark)
    lines.append([f"faces/{row['id']}.png", row["expression"].upper(), row["split"], row["identity"]])
with (folder / "labels.csv").open("w", newline="") as file:
    csv.writer(file).writerows(lines)

# the source, through the index
counts = index.build_index("listed", folder, 1, folder / "index.csv")
samples = index.read_samples(folder / "index.csv")
assert [sample.path for sample in samples] == [line[0] for line in lines[1:]]
assert [sample.expression.label for sample in samples] == [row["expression"] for row in drawn]
assert [sample.identity for sample in samples] == [row["identity"] for row in drawn]
assert sum(count.found for count in counts) == len(drawn)
good = (folder / "labels.csv").read_text()
for wrong, message in (("../a.png,fear,train,x", "leads out"), ("a.png,bored,train,x", "unknown expression 'bored'"),
                    ("a.png,fear,train,", "there is no person"), ("a.png,fear,exam,x", "'exam' is not one of")):
    (folder / "labels.csv").write_text(f"{good}{wrong}\\n")
    try:
        index.build_index("listed", folder, 1, folder / "other.csv")
        raise SystemExit(f"{wrong} was not refused")
    except UserError as error:
        assert message in str(error) and "\\n" not in str(error), error
(folder / "labels.csv").write_text(good)

# the detector, on dark pictures
status = align.align_shard(folder / "index.csv", folder, 0, folder / "0.h5", detector="evened", size=224, quality=95,
                           mode="face")
assert status["ok"] + status["several"] == len(drawn), status
assert all(step.startswith("evened_") for step in shards.read(folder / "0.h5", "step")["step"])

# the extractor, beside the truth
matrices = dict(zip(*shards.read(folder / "0.h5", "id", "matrix").values()))
status = landmarks.extract_landmarks(folder / "0.h5", folder / "points.h5", "mirrored", {"tolerance": "0.08"})
assert status["ok"] == len(drawn), status
placed = shards.read(folder / "points.h5")
assert ((placed["quality"] > 0.2) & (placed["quality"] <= 1)).all(), placed["quality"]
own = {f"faces/{row['id']}.png": row["landmarks"] for row in drawn}
distances = []
for name, points in zip(placed["id"], placed["points"]):
    true = np.array(own[name].split(";"), float).reshape(68, 2)
    matrix = matrices[name]
    distances.append(np.linalg.norm(points - (true @ matrix[:, :2].T + matrix[:, 2]), axis=1).mean())
assert np.mean(distances) < 12, distances  # of 224 px
try:
    landmarks.extract_landmarks(folder / "0.h5", folder / "no.h5", "mirrored", {"tolerance": "wide"})
    raise SystemExit("tolerance 'wide' was not refused")
except UserError as error:
    assert "option tolerance" in str(error)

# the codebook, on these landmarks
part, whole = codebook("upper_face"), codebook("paper_code")
for expression in SIX:
    assert part[expression] == tuple(au for au in whole[expression] if au <= 7)
    for geometry in ("published", "symmetric"):
        books = ("upper_face", "paper_code")
        own, other = (render(placed["points"][0], expression, 224, book, geometry) for book in books)
        assert own.shape == (224, 224) and own.min() == 0 and own.max() == 1
        assert not np.allclose(own, other)
        assert own[150:].sum() < 0.5 * other[150:].sum() + 1e-6  # nothing new at the mouth
assert render(placed["points"][0], Expression.NEUTRAL, 224, "upper_face") is None
"""


def test_source_detector_extractor_and_codebook_prepare_drawn_faces(project, tmp_path):
    python(
        project, "-m", "pipeline.synthetic", "--out", tmp_path / "drawn",
        "--identities-train", 1, "--identities-test", 1, "--size", 160, "--seed", 5, "--workers", 1,
    )  # fmt: skip
    (tmp_path / "mine").mkdir()
    python(project, "-c", PREPARATION, tmp_path / "mine", tmp_path / "drawn" / "truth.csv")


METHOD = """
import torch
from pipeline.plugins import names
from train.card.schema import Card
from au_guidance.loss import au_loss
from train.methods.base import Batch, build_method
from train.card.options import method_options

assert "lse" in names("train.methods") and method_options("lse") == ["sharpness"]

def card(**options):
    return Card.model_validate({
        "dataset": "none", "method": "lse", "variant": "au", "seed": 0, "protocol": "heldout",
        "data": {"folder": "none"}, "heatmap": {}, "guidance": {"weight": 5.0},
        "model": {"backbone": "resnet18_quarter", "init": "none", "image_size": 64, "options": options},
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.02},
    })

torch.manual_seed(0)
method = build_method(card(sharpness=3.0))
classes = [1, 2, 3, 5]
images, heatmaps = torch.randn(4, 3, 64, 64), torch.rand(4, 64, 64)
batch = Batch(images, torch.eye(7)[classes], heatmaps, torch.ones(4, dtype=torch.bool))
output = method(batch.images)
maps = output.maps
assert output.logits.shape == (4, 7) and maps.shape[:2] == (4, 7)
assert torch.equal(method.cam(output, classes), maps[torch.arange(4), classes])
places = maps.shape[2] * maps.shape[3]
torch.testing.assert_close(output.logits, torch.log(torch.exp(3.0 * maps).sum((2, 3)) / places) / 3.0)
for sharpness, limit in ((1e-3, maps.mean((2, 3))), (1e4, maps.amax((2, 3)))):
    method.sharpness = sharpness
    torch.testing.assert_close(method(batch.images).logits, limit, rtol=0, atol=2e-3)
method.sharpness = 3.0
optimiser = torch.optim.SGD(method.parameters(), lr=0.02)
before = [value.clone() for value in method.parameters()]
output = method(batch.images, batch.target)
aligned = au_loss(output.features, batch.heatmaps, batch.valid, layers=[5])
loss = method.classification_loss(output, batch.target) + 5 * aligned
loss.backward()
optimiser.step()
assert torch.isfinite(loss)
assert all(not torch.equal(old, new) for old, new in zip(before, method.parameters()))
"""


def test_the_method_follows_its_formula_and_trains(project):
    python(project, "-c", METHOD)


def test_the_method_keeps_the_contract_of_all_methods(project):
    chosen = ("-k", "lse or complete", "-p", "no:cacheprovider", "-q")
    output = python(project, "-m", "pytest", "tests/train/methods/test_contract.py", *chosen)
    assert "11 passed" in output, output


def test_all_of_it_is_a_config(project):
    output = python(project, "-m", "workflow.config", "mine.yaml")
    assert "table1: 12 runs" in output
    assert "heldout/mine/lse/au-w5-l5/seed2" in output


def test_the_examples_are_not_in_the_project_itself():
    assert "upper_face" not in names("au_guidance.codebooks")
    assert codebook("paper_code")[Expression.NEUTRAL] == ()
