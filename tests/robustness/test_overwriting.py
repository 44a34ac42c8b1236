"""No command writes an output onto one of its inputs, whatever `--out` is."""

import importlib
import re
import shutil
import sys

import pytest

from eval.figures.gallery import write_gallery
from eval.published.importing import import_folder
from pipeline.errors import UserError
from tests.support.paths import ROOT
from tests.support.released import write_config, write_model
from tests.support.stages import STAGES, Stage, run

BY_NAME = {stage.name: stage for stage in STAGES}
# command, arguments (None: those of the stage), --out, the input that it would replace and, if needed, whose copy it is
CASES = [
    ("pipeline.index", None, "generated/truth.csv", "generated/truth.csv", None),
    ("pipeline.align", None, "data/index.csv", "data/index.csv", None),
    ("pipeline.align", None, "generated/truth.csv", "generated/truth.csv", None),
    ("pipeline.landmarks", None, "data/faces/0.h5", "data/faces/0.h5", None),
    ("pipeline.landmarks", None, "run/../data/faces/0.h5", "data/faces/0.h5", None),
    ("pipeline.heatmaps", None, "data/landmarks/0.h5", "data/landmarks/0.h5", None),
    ("pipeline.status", None, "data/index", "data/index.csv", None),
    ("train", ("new/history.csv",), "new", "new/history.csv", "run.yaml"),
    ("train", ("run.yaml", "--from", "run"), "run", "run/checkpoint.safetensors", None),
    ("eval.predict", None, "run/checkpoint.safetensors", "run/checkpoint.safetensors", None),
    ("eval.predict", None, "data/heatmaps/0.h5", "data/heatmaps/0.h5", None),
    ("eval.predict", ("--untrained", "run.yaml"), "run.yaml", "run.yaml", None),
    ("eval.metrics.training_means", None, "data/heatmaps/0.h5", "data/heatmaps/0.h5", None),
    ("eval.score", None, "run/predictions.h5", "run/predictions.h5", None),
    (
        "eval.score",
        ("run/predictions.h5", "--means", "new/confusion.csv"),
        "new/scores.json",
        "new/confusion.csv",
        "data/means.npz",
    ),
    ("eval.figures.maps", ("new/maps.npz",), "new/maps", "new/maps.npz", "run/predictions.h5"),
    ("eval.figures.maps", ("compare", "data/means.npz", "new/maps.csv"), "new/maps", "new/maps.csv", "data/means.npz"),
    ("eval.tables", ("classification", "--scores", "new/a.csv"), "new/a", "new/a.csv", "run/scores.json"),
    ("eval.figures", ("matrices", "--scores", "new/a.png"), "new/a", "new/a.png", "run/scores.json"),
    (
        "eval.figures",
        ("panels", "run/predictions.h5", "new/b.pdf"),
        "new/b",
        "new/b.pdf",
        "run/predictions.h5",
    ),
    ("eval.compare", ("--scores", "run/scores.json"), "run/images", "run/images.csv", None),
    ("eval.faithfulness", None, "run/checkpoint.safetensors", "run/checkpoint.safetensors", None),
    ("eval.report", ("--grid", "run/scores.json", "--results", "."), "run/history.csv", "run/history.csv", None),
    ("eval.report", ("--grid", "new/grid.html", "--results", "."), "new/grid.html", "new/grid.html", "run/scores.json"),
]
ELSEWHERE = {
    "eval.export",  # below
    "eval.published",
    "eval.figures.gallery",
    "eval.explain",  # tests/eval/explain
    # These read no file that they could replace.
    "pipeline.synthetic",
    "train.weights",
    "eval.summary",
    "eval.explain.app",
    "workflow.config",
}


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory):
    """A folder after every stage up to the scores."""
    folder = tmp_path_factory.mktemp("finished") / "work"
    shutil.copytree(trained, folder)
    for name in ("training_means", "score"):
        code, errors = run(BY_NAME[name], folder)
        assert code == 0, errors
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[2]}")
def test_no_output_replaces_an_input(case, finished):
    module, arguments, out, path, source = case
    stage = next((stage for stage in STAGES if stage.module == module), Stage(module, out))
    victim = finished / path
    if source is not None:
        victim.parent.mkdir(exist_ok=True)
        shutil.copyfile(finished / source, victim)
    before = victim.read_bytes()
    code, errors = run(Stage(module, out, stage.arguments if arguments is None else arguments), finished)
    assert code == 1, errors
    assert re.fullmatch(r"error: .* would replace a file that is read; choose .*\n", errors), errors
    assert victim.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "out", "written"),
    [
        ("index", "generated/index.csv", "generated/index.csv"),
        ("align", "generated/0.h5", "generated/0.h5"),
        ("status", "data/status", "data/status.csv"),
    ],
)
def test_a_command_may_replace_its_own_output(name, out, written, finished):
    """Also where it lies among the files of the dataset."""
    for _ in range(2):
        code, errors = run(BY_NAME[name], finished, out=out)
        assert code == 0, errors
    (finished / written).unlink()


def test_an_export_replaces_neither_checkpoint_nor_scores(finished, monkeypatch):
    path, scores = finished / "run" / "checkpoint.safetensors", finished / "run" / "scores.json"
    before = path.read_bytes(), scores.read_bytes()
    main = importlib.import_module("eval.export.__main__").main
    for arguments in (["--onnx", path], ["--onnx", scores, "--scores", scores]):
        monkeypatch.setattr(sys, "argv", ["export", str(path), *map(str, arguments)])
        with pytest.raises(UserError, match="would replace a file that is read"):
            main()
    monkeypatch.setattr(sys, "argv", ["export", str(path), "--hub", str(path.parent)])
    with pytest.raises(UserError, match="did not write"):
        main()
    assert before == (path.read_bytes(), scores.read_bytes())


def test_an_import_does_not_replace_the_released_files(tmp_path):
    folder = write_config(tmp_path / "released", "CAM")
    write_model(folder)
    for path in (folder / "model.pt", folder / "config_model.yaml"):
        before = path.read_bytes()
        with pytest.raises(UserError, match="would replace a file that is read"):
            import_folder(folder, path)
        assert path.read_bytes() == before


def test_a_gallery_replaces_nothing_but_a_gallery(tmp_path):
    kept = tmp_path / "predictions.h5"
    kept.write_bytes(b"kept")
    with pytest.raises(UserError, match=r"holds predictions\.h5, which this command did not write"):
        write_gallery(None, tmp_path, count=1, seed=0)
    assert kept.read_bytes() == b"kept"


def test_every_command_is_in_the_table():
    commands = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for package in ("pipeline", "train", "eval", "workflow")
        for path in (ROOT / package).rglob("*.py")
        if "\n    run(main)\n" in path.read_text(encoding="utf-8")
    }
    assert commands == {case[0] for case in CASES} | ELSEWHERE
