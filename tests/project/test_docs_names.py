"""README, CONTRIBUTING and the documentation name only commands, files, modules and links that exist."""

import ast
import importlib
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import yaml

import au_guidance
from au_guidance import Expression, au_loss, render
from tests.support.faces import mean_face
from tests.support.pages import PAGES, blocks, page
from tests.support.paths import ROOT
from workflow.config import parse
from workflow.schema import keys

TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
PACKAGES = "au_guidance|pipeline|train|eval|workflow|benchmarks|tests"
FOLDER = re.compile(rf"(?<![\w/.<-])((?:{PACKAGES}|docs|profiles)/[\w./-]*)(?![\w./<*{{-])")
DOTTED = re.compile(rf"`((?:{PACKAGES})(?:\.\w+)+)`")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = {"pip", "pytest"}  # commands that are not the project's
OWN = {"train.py", "eval.py"}  # a reader's

each_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)


def written(path):
    return path.read_text(encoding="utf-8")


def examples():
    """The files that the worked examples make."""
    return {name.partition(",")[0] for place in ("extend", "tutorial") for name in blocks(place)}


def is_module(name):
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def resolve(name):
    """Return what a dotted name stands for: a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if is_module(".".join(parts[:count])):
            value = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:]:
                value = getattr(value, part)
            return value
    raise ModuleNotFoundError(name)


@each_text
def test_commands_exist(path):
    for name in set(re.findall(r"python -m ([a-z_.]+[a-z])", written(path))) - OTHERS:
        place = ROOT.joinpath(*name.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), name


@each_text
def test_files_and_folders_exist(path):
    for name in {found.rstrip(".") for found in FOLDER.findall(written(path))} - examples():
        assert (ROOT / name).exists(), name


@each_text
def test_modules_and_what_is_in_them_exist(path):
    for name in set(DOTTED.findall(written(path))) - OWN:
        assert resolve(name) is not None


@each_text
def test_imports_of_examples_work(path):
    for block in PYTHON.findall(written(path)):
        if "tests/" in block.partition("\n")[0]:
            continue  # a line of a file
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and re.match(PACKAGES, node.module):
                for alias in node.names:
                    assert resolve(f"{node.module}.{alias.name}") is not None


@each_text
def test_targets_of_make_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", written(ROOT / "Makefile"), re.MULTILINE)) | {"demo", "demo-all"}
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", written(path), re.MULTILINE)) <= targets


@each_text
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", written(path)):
        assert (path.parent / link).exists(), link


def test_targets_of_snakemake_and_keys_are_known():
    rules = "".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    known = {*re.findall(r"^rule (\w+):", rules + written(ROOT / "Snakefile"), re.MULTILINE), "all"}
    text = "".join(map(written, TEXTS))
    named = re.findall(r"(?:^|`)snakemake (?:-\S+ \S+ )*(?:-n )?(\w+)(?= --|$|`)", text, re.MULTILINE)
    assert len(named) > 10
    assert set(named) <= known
    described = {line.partition(":")[0].partition(" ")[0].rpartition(".")[2] for line in keys()}
    for name in set(re.findall(r"`(?:training|model|heatmap|guidance|evaluation)\.(\w+)[`:]", text)) - {"csv"}:
        assert name in described, name


@pytest.mark.parametrize(("name", "file"), [("tutorial", "own.yaml")])
def test_a_config_is_right(name, file):
    parse(yaml.safe_load(blocks(name)[file]), file)


def test_commands_of_the_changelog_have_their_new_names():
    table = [line.split("|")[1:3] for line in written(ROOT / "CHANGELOG.md").splitlines() if line.startswith("| ")]
    new = [name for _, right in table for name in re.findall(r"python -m ([a-z_.]+[a-z])", right)]
    assert len(new) > 5
    assert all(is_module(name) for name in new), new
    for name in re.findall(r"`(au_guidance[\w/.]*|(?:pipeline|train)\.[\w.]+)`", " ".join(right for _, right in table)):
        assert is_module(name.replace("/", ".")) or (ROOT / name).is_dir(), name


# --- the design's map of the project


def tree():
    """Return the paths of the tree in docs/design.md, in order."""
    (block,) = re.findall(r"^```text\n(.*?)^```$", page("design"), re.MULTILINE | re.DOTALL)
    above, paths = {}, []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth] = line.split()[0]
        paths.append("".join(above[level] for level in range(depth + 1)))
    return paths


def test_the_tree_of_the_design_exists():
    for name in tree():
        assert (ROOT / name).is_dir() if name.endswith("/") else (ROOT / name).is_file(), name


def test_the_tree_of_the_design_has_every_room():
    packages = ("au_guidance", "pipeline", "train", "eval", "workflow", "benchmarks")
    folders = {path.parent for package in packages for path in (ROOT / package).rglob("*") if path.is_file()}
    rooms = {f"{folder.relative_to(ROOT)}/" for folder in folders if folder.name != "__pycache__"}
    commands = {f"eval/{name}.py" for name in ("predict", "score", "summary", "api")}
    assert rooms | commands <= set(tree())


# --- the five lines


POINTS = mean_face()


def five_lines():
    (block,) = (found for found in PYTHON.findall(written(ROOT / "README.md")) if "au_loss" in found)
    return block


def test_the_five_lines_run_and_mean_what_they_say():
    features = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    heatmaps = torch.from_numpy(np.stack([render(POINTS, Expression.HAPPINESS, 224)] * 2))
    given = {
        "points": POINTS,
        "features": features,
        "logits": torch.zeros(2, 7),
        "y": torch.tensor([1, 0]),
        "heatmaps": heatmaps,
        "valid": torch.tensor([True, False]),
    }
    values = dict(given)
    exec(compile(five_lines(), "README.md", "exec"), values)
    np.testing.assert_array_equal(values["heatmap"], heatmaps[0])
    term = au_loss(features, heatmaps, given["valid"])
    torch.testing.assert_close(values["loss"], F.cross_entropy(given["logits"], given["y"]) + 4 * term)
    assert float(term.detach()) > 0


def test_the_library_shows_the_same_lines():
    for line in filter(None, five_lines().splitlines()[1:]):
        assert line.partition("  #")[0] in au_guidance.__doc__, line
