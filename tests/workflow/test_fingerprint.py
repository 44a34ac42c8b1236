"""What makes a stage stale: edits that change what its code does, in every module of the project that it imports."""

import ast
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.paths import ROOT
from workflow.config import read
from workflow.fingerprint import LEFT_OUT, PACKAGES, digest, fingerprint
from workflow.plan import Plan

RULE = re.compile(r"^rule (\w+):\n((?:    .*\n|\n)+)", re.MULTILINE)


def rules():
    """The text of every rule, by name."""
    files = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
    return {name: text for file in files for name, text in RULE.findall(file.read_text(encoding="utf-8"))}


def code_of(text):
    """The arguments of `plan.code(...)` in a rule; none if it has no fingerprint."""
    call = re.search(r"code=(plan\.code\(.*?\)),\n", text, re.DOTALL)
    return [ast.literal_eval(part) for part in ast.parse(call[1], mode="eval").body.args] if call else []


class Project:
    """A project whose every state lies in a folder of its own, as files are read once per process."""

    def __init__(self, folder, monkeypatch, files=None):
        self.folder, self.monkeypatch, self.count = folder, monkeypatch, 0
        self.root = folder / "0" if files else ROOT
        for name, text in (files or {}).items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def fingerprint(self, *arguments):
        self.monkeypatch.setattr("workflow.fingerprint.ROOT", self.root)
        return fingerprint(*arguments)

    def stale(self, name, *arguments, text="\nEDITED = 1\n"):
        """Whether an edit at the end of a file changes a fingerprint."""
        before = self.fingerprint(*arguments)
        self.count += 1
        copy = self.folder / str(self.count)
        for package in filter(Path.is_dir, (self.root / package for package in PACKAGES)):
            shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        self.root = copy
        with (copy / name).open("a") as file:
            file.write(text)
        return self.fingerprint(*arguments) != before


def test_comments_docstrings_and_layout_do_not_count(tmp_path, monkeypatch):
    def of(text):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return Project(folder, monkeypatch, {"eval/stage.py": text}).fingerprint("eval.stage")

    assert of('"""One."""\nx = 1\n') == of('"""Two."""\nx  =  1  # why\n')
    assert of("x = 1") != of("x = 2")
    assert of("def f():\n    'Doc.'\n    return 1") == of("def f():\n    return 1")


FILES = {
    "eval/__init__.py": "",
    "eval/first/__main__.py": "from eval import second\nimport train.engine.loop",
    "eval/second.py": "def late():\n    from eval.third import number\nfrom . import fourth\nimport numpy.linalg",
    "eval/third.py": "import eval.first.__main__",
    "eval/fourth.py": "from au_guidance import render",
    "eval/other.py": "import eval.first",
    "train/engine/loop.py": "from pipeline.errors import run",
    "train/engine/ema.py": "",
    "au_guidance/__init__.py": "from au_guidance.heatmap import render",
    "au_guidance/heatmap.py": "",
    "pipeline/errors.py": "from pipeline.behind import x",
    "pipeline/behind.py": "",
    "pipeline/plain.py": "from au_guidance.raster import fill",
    "au_guidance/raster.py": "",
    "pipeline/sources/large/__init__.py": "from pipeline.sources.large import part",
    "pipeline/sources/large/part.py": "",
    "eval/paper.csv": "1",
}


@pytest.mark.parametrize(
    ("changed", "stale"),
    {
        "eval/first/__main__.py": True,
        "eval/second.py": True,
        "eval/third.py": True,  # imported in a function
        "eval/fourth.py": True,  # a relative import
        "train/engine/loop.py": True,
        "au_guidance/__init__.py": True,  # something is imported from it
        "au_guidance/heatmap.py": True,
        "eval/other.py": False,
        "train/engine/ema.py": False,
        "pipeline/errors.py": False,  # only reports
        "pipeline/behind.py": False,
    }.items(),
)
def test_all_modules_that_are_imported_count(changed, stale, tmp_path, monkeypatch):
    assert Project(tmp_path, monkeypatch, FILES).stale(changed, "eval.first") is stale


def test_the_face_of_a_package_does_not_count_for_its_modules(tmp_path, monkeypatch):
    project = Project(tmp_path, monkeypatch, FILES)
    assert project.stale("au_guidance/raster.py", "pipeline.plain")
    assert not project.stale("au_guidance/__init__.py", "pipeline.plain")


def test_what_is_chosen_by_name_counts_with_its_imports(tmp_path, monkeypatch):
    project = Project(tmp_path, monkeypatch, FILES)
    chosen = ("pipeline.plain", "pipeline/sources/large.py", "eval/*.csv")
    assert project.stale("pipeline/sources/large/part.py", *chosen)
    assert project.stale("eval/paper.csv", *chosen)
    assert not project.stale("eval/third.py", *chosen)


@pytest.mark.parametrize("arguments", [("eval.absent",), ("eval.first", "eval/absent*.py")])
def test_a_name_without_a_file_is_an_error(arguments, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"eval/absent.*matches no file"):
        Project(tmp_path, monkeypatch, FILES).fingerprint(*arguments)


def test_a_rule_digests_the_command_that_it_runs():
    checked = {name: code_of(text)[0] for name, text in rules().items() if code_of(text)}
    commands = {name: re.search(r"python -m ([\w.]+)", text) for name, text in rules().items()}
    assert checked == {name: command[1] for name, command in commands.items() if command and name in checked}
    # Weights and the grid depend on their settings alone, the report of now is made whenever it is asked for, what an
    # untrained network answers is deleted after use, and a training depends on its card and data.
    without = {name for name, command in commands.items() if command} - checked.keys()
    assert without == {"weights", "grid", "report_so_far", "predict_untrained", "train_run"}


def test_what_is_left_out_exists():
    for module in LEFT_OUT:
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file(), module


@pytest.mark.parametrize(
    ("rule", "changed", "stale"),
    [
        ("predict", "train/data/prepared.py", True),  # of a list written by hand these two were missing
        ("landmarks_shard", "pipeline/detectors/dlib.py", True),
        ("predict", "train/backbones/resnet.py", True),
        ("predict", "train/methods/cam.py", True),
        ("predict", "train/methods/acol.py", False),
        ("predict", "train/engine/loop.py", False),
        ("landmarks_shard", "pipeline/extractors/dlib.py", True),
        ("landmarks_shard", "pipeline/geometry.py", True),
        ("landmarks_shard", "pipeline/extractors/published.py", False),
        ("landmarks_shard", "au_guidance/loss.py", False),
        ("landmarks_shard", "train/engine/loop.py", False),
        *(("landmarks_shard", f"{module.replace('.', '/')}.py", False) for module in LEFT_OUT),
        ("faces_shard", "pipeline/storage/images.py", True),
        ("heatmaps_shard", "au_guidance/raster.py", True),
        ("index_dataset", "pipeline/sources/_folders.py", True),
        ("score", "eval/metrics/localisation.py", True),
        ("score", "au_guidance/codebooks/paper_text.yaml", False),
        ("faithfulness", "eval/faithfulness/removal.py", True),
        ("report", "eval/report/page/page.js", True),
    ],
)
def test_what_makes_a_rule_stale(rule, changed, stale, tmp_path, monkeypatch):
    chosen = {"extractor": "dlib", "detector": "dlib", "source": "folder", "method": "cam"}
    chosen |= {"codebook": "paper_code", "geometry": "published"}
    arguments = [part.format(**chosen) for part in code_of(rules()[rule])]
    text = "\n// edited" if changed.endswith(".js") else "\nEDITED = 1\n"
    assert Project(tmp_path, monkeypatch).stale(changed, *arguments, text=text) is stale


def test_a_job_names_the_plug_ins_of_its_dataset():
    config = read(ROOT / "config.yaml")
    plan = Plan(config, config)
    job = SimpleNamespace(dataset="affectnet", method="cam")
    patterns = ("pipeline/extractors/{extractor}.py", "train/methods/{method}.py")
    files = ("pipeline/extractors/face_alignment.py", "train/methods/cam.py")
    assert plan.code("eval.predict", *patterns)(job) == fingerprint("eval.predict", *files)
    codebook = digest("au_guidance/codebooks/paper_code.yaml")
    assert plan.codebook(SimpleNamespace(dataset="rafdb", variant="au-w4-l5")) == codebook
    assert plan.codebook(SimpleNamespace(dataset="rafdb", variant="plain")) == ""
