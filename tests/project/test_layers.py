"""Nothing flows back: pipeline <- train <- eval <- workflow, and GPU boxes need neither snakemake nor dlib."""

import ast
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

ORDER = ["pipeline", "train", "eval", "workflow"]
FILES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]


def imports(tree):
    """Names of the modules that any statement of a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_comes_before_it(path):
    package = path.relative_to(ROOT).parts[0]
    later = ORDER[ORDER.index(package) + 1 :]
    found = {name.partition(".")[0] for name in imports(ast.parse(path.read_text()))}
    assert not found & set(later)


@pytest.mark.parametrize("package", ["train", "eval"])
def test_training_and_evaluation_run_without_snakemake_and_dlib(package):
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in FILES
        if path.parts[len(ROOT.parts)] == package
    ]
    code = (
        "import sys, importlib\n"
        "sys.modules.update(dict.fromkeys(['snakemake', 'dlib', 'face_alignment', 'face_recognition_models']))\n"
        f"for name in {names}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_preparation_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import pipeline.index, pipeline.align, pipeline.landmarks, pipeline.heatmaps, pipeline.status"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ORDER)
def test_package_files_hold_one_docstring(package):
    for path in (ROOT / package).rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        reader = path.parent.name == "synthetic"  # a plug-in that is a folder is read where it is imported
        assert reader or (len(tree.body) == 1 and ast.get_docstring(tree)), path
