"""Imports go one way: au_guidance <- pipeline <- train <- eval <- workflow, and from room to room within each."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.paths import ROOT

PACKAGES = ["au_guidance", "pipeline", "train", "eval", "workflow"]
# A room is a folder or a file of a package; it imports only rooms that stand before it.
ROOMS = {
    "pipeline": "errors types geometry storage plugins sources detectors extractors synthetic "
    "index crop align landmarks heatmaps status",
    "train": "weights hardware backbones card methods data checkpoints engine __main__",
    "eval": "records metrics predict score faithfulness tables compare figures export published explain api report "
    "summary",
    "workflow": "schema fingerprint lock run_names grid cost published needs results config plan",
}
LIBRARY = {"numpy", "cv2", "yaml", "torch"}  # what au_guidance needs, as pyproject.toml says
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported(path):
    """List what the statements of a file import, also inside functions: (module, name in it or None)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def graph():
    """Return the modules of the project that each module imports."""
    edges = {}
    for module, path in FILES.items():
        named = {f"{source}.{name}" if f"{source}.{name}" in FILES else source for source, name in imported(path)}
        edges[module] = named & FILES.keys() - {module}
    return edges


def rooms(edges):
    """Return the rooms, such as `train.card`, that each room imports."""
    between = {}
    for module, sources in edges.items():
        room = ".".join(module.split(".")[:2])
        others = {".".join(source.split(".")[:2]) for source in sources}
        between.setdefault(room, set()).update(others - {room})
    return between


def circle(edges):
    """Return the modules of a circle in their order, or None."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return " <- ".join(error.args[1])
    return None


def test_a_circle_is_named():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}).count("<-") == 3
    assert circle({"a": {"b"}, "b": {"c"}, "d": {"a"}}) is None


def test_no_imports_go_in_a_circle():
    assert circle(graph()) is None
    assert circle(rooms(graph())) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_packages_before_it(package):
    later = PACKAGES[PACKAGES.index(package) + 1 :]
    for module, path in FILES.items():
        if module.split(".")[0] == package:
            upward = {source for source, _ in imported(path) if source.split(".")[0] in later}
            assert not upward, f"{module} imports {upward}"


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_only_rooms_before_it(package):
    order = [f"{package}.{name}" for name in ROOMS[package].split()]
    between = {room: sources for room, sources in rooms(graph()).items() if room.startswith(f"{package}.")}
    assert sorted(order) == sorted(between)
    for number, room in enumerate(order):
        later = between[room] & set(order[number:])
        assert not later, f"{room} imports {later}, which stand after it"


def test_the_library_needs_four_packages():
    allowed = LIBRARY | {"au_guidance"} | sys.stdlib_module_names
    for module, path in FILES.items():
        if module.split(".")[0] == "au_guidance":
            foreign = {source for source, _ in imported(path) if source.split(".")[0] not in allowed}
            assert not foreign, f"{module} imports {foreign}"


def test_no_module_imports_a_command():
    assert not [module for module, sources in graph().items() if any(name.endswith("__main__") for name in sources)]


@pytest.mark.parametrize("package", ["train", "eval"])
def test_training_and_evaluation_run_without_snakemake_and_dlib(package):
    names = [module for module in FILES if module.split(".")[0] == package]
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
