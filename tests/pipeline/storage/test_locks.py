"""A lock keeps other processes out, ends with its holder, and is done without where there is none."""

import errno
import subprocess
import sys

import pytest
from filelock import FileLock

from pipeline.storage import locks
from pipeline.storage.locks import lock
from tests.support.paths import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.storage.locks import lock
held = lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "lock"
    held = lock(path)
    assert held is not None
    assert lock(path) is None
    held.release()
    again = lock(path, wait=True)
    assert again is not None
    again.release()


def test_a_killed_process_frees_its_lock(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert lock(path) is None
    process.kill()
    process.wait()
    assert lock(path) is not None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_one_warning_is_given(number, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError(number, "no locks")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    locks._warn.cache_clear()
    for _ in range(2):
        held = lock(tmp_path / "lock")
        assert held is not None
        held.release()
    printed = capsys.readouterr().err
    assert printed == f"{tmp_path} is on a file system without locks: start no second process on it\n"
