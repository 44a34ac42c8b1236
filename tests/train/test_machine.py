"""How much memory is free: what the system tells, and what a job's control group leaves of it."""

import pytest
import torch

from train import hardware

CPU = torch.device("cpu")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A made-up /proc and /sys/fs/cgroup: 5 MB are available, and this process is in the group jobs/one."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    (tmp_path / "cgroup").write_text("0::/jobs/one\n")
    (tmp_path / "groups" / "jobs" / "one").mkdir(parents=True)
    for name in ("MEMORY", "GROUP", "GROUPS"):
        path = {"MEMORY": "meminfo", "GROUP": "cgroup", "GROUPS": "groups"}[name]
        monkeypatch.setattr(hardware, name, tmp_path / path)
    return tmp_path


def limit(folder, most, used):
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")


def test_without_limits_it_is_what_the_machine_has(system):
    assert hardware.free_memory(CPU) == 5000 * 1024
    limit(system / "groups" / "jobs" / "one", "max", 7)
    assert hardware.free_memory(CPU) == 5000 * 1024


def test_the_tightest_group_counts(system):
    limit(system / "groups" / "jobs" / "one", 4_000_000, 1_000_000)
    assert hardware.free_memory(CPU) == 3_000_000
    limit(system / "groups" / "jobs", 2_500_000, 500_000)
    assert hardware.free_memory(CPU) == 2_000_000
    limit(system / "groups" / "jobs", 2_500_000, 2_600_000)
    assert hardware.free_memory(CPU) == 0


def test_a_system_that_tells_nothing_is_no_error(system, monkeypatch):
    monkeypatch.setattr(hardware, "GROUP", system / "none")
    monkeypatch.setattr(hardware, "MEMORY", system / "none")
    assert hardware.free_memory(CPU) > 0
