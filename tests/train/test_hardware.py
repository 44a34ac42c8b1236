"""Trainings share the GPUs of a machine: with names in their place."""

import fcntl
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from train import hardware


def test_gpus_are_claimed_one_each(tmp_path, monkeypatch):
    """With names in the place of GPUs: two claims get two, a third waits until one is free."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    slots = tmp_path / "slots"
    with hardware.claim(slots) as first:
        assert first == torch.device("cuda:0")
        with hardware.claim(slots) as second:
            assert second == torch.device("cuda:1")
            assert sorted(path.name for path in slots.iterdir()) == ["3.lock", "5.lock"]
            with (slots / "3.lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with hardware.claim(slots) as third:
            assert third == torch.device("cuda:1")
    monkeypatch.setenv("RUNS_PER_GPU", "2")
    with ExitStack() as stack:
        shared = [stack.enter_context(hardware.claim(slots)) for _ in range(4)]
        assert [str(one) for one in shared] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
        assert sorted(path.name for path in slots.iterdir()) == ["3.2.lock", "3.lock", "5.2.lock", "5.lock"]
    monkeypatch.setenv("RUNS_PER_GPU", "many")
    with pytest.raises(UserError, match=r"RUNS_PER_GPU='many' .* is no number of trainings"), hardware.claim(slots):
        pass
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with hardware.claim(tmp_path / "none") as given:
        assert given == torch.device("cuda:0")
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_users_share_the_claims(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory() as place:
            Path(place).chmod(0o755)
            slots = Path(place, "slots")
            with hardware.claim(slots):
                os.seteuid(65534)
                with hardware.claim(slots) as second:
                    assert second == torch.device("cuda:1")
            with hardware.claim(slots) as free:
                assert free == torch.device("cuda:0")
            os.seteuid(0)
            assert [oct(path.stat().st_mode)[-3:] for path in (slots, *slots.iterdir())] == ["777", "666", "666"]
    finally:
        os.seteuid(0)
        os.umask(before)


def test_one_training_claims_several_gpus_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("RUNS_PER_GPU", "2")
    with hardware.claim(tmp_path) as one, hardware.claim_several(3, tmp_path) as several:
        assert [one, *several] == [torch.device(f"cuda:{index}") for index in (0, 1, 2, 0)]
        with pytest.raises(BlockingIOError), (tmp_path / "several.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(UserError, match="4 processes need a GPU each, and this machine shows 3"):
        hardware.claim_several(4, tmp_path).__enter__()


def test_without_gpu_it_is_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with hardware.claim(tmp_path / "none") as given:
        assert given == torch.device("cpu")
