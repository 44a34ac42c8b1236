"""Every command of the preparation says its name, what it reads and writes, and its defaults."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("index", ("write index.csv", "--shards SHARDS")),
        (
            "align",
            ("write the face shard", "(default: 256)", "(default: 95)", "(default: 100)", "(default: face)"),
        ),
        ("landmarks", ("write the landmark shard", "one of: dataset, dlib, face_alignment, mesh, published")),
        ("heatmaps", ("write the heatmap shard", "(default: published)")),
        ("status", ("write how often each status occurs", "--source SOURCE")),
        ("synthetic", ("write images/*.jpg and truth.csv", "(default: 224)", "(default: 0)", "(default: 1)")),
    ],
)
def test_help_says_what_a_command_does(command, expected):
    module = f"pipeline.{command}"
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    words = " ".join(done.stdout.split())
    assert words.startswith(f"usage: python -m {module} ")
    for text in expected:
        assert text in words
