"""What makes a stage stale: edits of its code that mean something, also in what it imports."""

import pytest

from workflow.fingerprint import fingerprint


def test_fingerprints_ignore_comments(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.fingerprint.ROOT", tmp_path)
    file = tmp_path / "stage.py"

    def of(text):
        file.write_text(text)
        return fingerprint(["stage.py"])

    assert of('"""One."""\nx = 1\n') == of('"""Two."""\nx  =  1  # why\n')
    assert of("x = 1") != of("x = 2")
    assert of("def f():\n    'Doc.'\n    return 1") == of("def f():\n    return 1")


def test_fingerprints_follow_imports_within_eval(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.fingerprint.ROOT", tmp_path)
    for name, text in {
        "eval/first.py": "from eval import second\nfrom train.engine.loop import step",
        "eval/second.py": "from eval.third import number\nimport eval.first",
        "eval/third.py": "number = 1",
        "eval/other.py": "number = 1",
        "train/engine/loop.py": "step = 1",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def changed(name):
        before = fingerprint(["eval/first.py"])
        (tmp_path / name).write_text("number = 2")
        return fingerprint(["eval/first.py"]) != before

    assert [changed(name) for name in ("eval/other.py", "train/engine/loop.py", "eval/third.py", "eval/second.py")] == [
        False,
        False,
        True,
        True,
    ]
    with pytest.raises(FileNotFoundError, match=r"eval/fourth\.py"):
        fingerprint(["eval/fourth.py"])
