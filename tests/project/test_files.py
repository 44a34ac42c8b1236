"""What every file keeps to: a length, a name that tells, and packages whose `__init__.py` is a docstring."""

import ast
import re

import pytest

from tests.support.paths import ROOT

FOLDERS = ("au_guidance", "pipeline", "train", "eval", "workflow", "benchmarks", "tests", "docs")
CODE = [ROOT / "Snakefile"] + [
    path for folder in FOLDERS for pattern in ("*.py", "*.smk") for path in sorted((ROOT / folder).rglob(pattern))
]
VAGUE = re.compile(r"_?(utils?|common|misc|helpers?)", re.IGNORECASE)


def test_no_file_is_longer_than_300_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in CODE}
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_module_has_a_vague_name():
    places = {path.relative_to(ROOT) for path in CODE}
    vague = [place for place in places if any(VAGUE.fullmatch(part.partition(".")[0]) for part in place.parts)]
    assert not vague


@pytest.mark.parametrize("package", ["pipeline", "train", "eval", "workflow", "benchmarks"])
def test_package_files_hold_one_docstring(package):
    packages = sorted((ROOT / package).rglob("__init__.py"))
    assert packages
    for path in packages:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert len(tree.body) == 1, path
        assert ast.get_docstring(tree), path


def test_no_test_imports_another_test():
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tests."):
                assert node.module.startswith("tests.support"), f"{path} imports {node.module}"
