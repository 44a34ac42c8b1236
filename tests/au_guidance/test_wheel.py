"""`pip install .` brings the library alone, tried in an environment of its wheel and what that asks for."""

import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

FIVE_LINES = """
import numpy as np
import torch
import torch.nn.functional as F
from au_guidance import Expression, render, au_loss

points = np.load("points.npy")
heatmap = render(points, Expression.HAPPINESS, 224)
features, logits, y = torch.rand(2, 3, 7, 7, requires_grad=True), torch.rand(2, 7), torch.tensor([1, 0])
heatmaps, valid = torch.from_numpy(np.stack([heatmap, heatmap])), torch.tensor([True, False])
loss = F.cross_entropy(logits, y) + 4 * au_loss(features, heatmaps, valid)
loss.backward()
print(heatmap.shape, heatmap.max(), bool(features.grad[0].any()), bool(features.grad[1].any()))
"""


def required(metadata):
    lines = metadata.splitlines()
    return [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(call, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment with the wheel and, as links, the packages that it requires."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    pending = [
        line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")
    ]
    linked = set()
    while pending:
        requirement = Requirement(pending.pop())
        name = canonicalize_name(requirement.name)
        if name in linked or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        linked.add(name)
        found = distribution(name)
        pending += found.requires or []
        for entry in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if not (site / entry).exists():
                (site / entry).symlink_to(found.locate_file(entry))
    return folder / "bin" / "python"


def test_the_wheel_holds_the_library_alone_and_is_small(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"au_guidance"}
    assert "au_guidance/py.typed" in names
    assert any(name.startswith("au_guidance/geometries/") for name in names)
    assert wheel.stat().st_size < 50_000


def test_it_needs_four_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    needed = [Requirement(line).name for line in required(metadata)]
    assert sorted(needed) == [
        "numpy",
        "opencv-python-headless",
        "pyyaml",
        "torch",
    ]


def test_the_five_lines_work_beside_a_train_and_an_eval_of_the_users_own(python, tmp_path):
    import numpy as np

    from tests.support.faces import mean_face

    for name in ("train", "eval", "pipeline", "workflow"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')")
    np.save(tmp_path / "points.npy", mean_face())
    (tmp_path / "mine.py").write_text(FIVE_LINES)
    done = subprocess.run([python, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(224, 224) 1.0 True False", done.stderr


def test_drawing_needs_no_torch(python, tmp_path):
    code = "import sys; import au_guidance; au_guidance.render; assert 'torch' not in sys.modules"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
