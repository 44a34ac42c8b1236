"""What a program runs on, to be recorded with what it makes."""

import os
import platform
from pathlib import Path

import torch

PROCESSORS, MEMORY = Path("/proc/cpuinfo"), Path("/proc/meminfo")
GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def machine() -> dict[str, str]:
    """Describe this machine: system, processor, cores that this process may use, and GPUs where there are any."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    described = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "GPU": ", ".join(sorted(set(gpus))),
    }
    return {name: value for name, value in described.items() if value}


def _processor() -> str:
    try:
        lines = PROCESSORS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def free_memory(device: torch.device) -> int:
    """Return how many bytes this process may still take on a device, as far as the system tells; 0 where it does not.

    On a CPU that is the smaller of what the machine has available and what the control group allows, as of a SLURM job.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = [value for value in (_available(), _allowed()) if value is not None]
    return min(known, default=0)


def _available() -> int | None:
    try:
        lines = MEMORY.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)


def _allowed() -> int | None:
    """Read what the innermost limit of control groups (version 2) leaves; None without one."""
    try:
        name = GROUP.read_text(encoding="utf-8").strip().rpartition("::")[2].strip("/")
        folders = [GROUPS / name, *(GROUPS / name).parents]
        left = [
            int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
            for folder in folders
            if (folder / "memory.max").is_file() and (folder / "memory.max").read_text().strip() != "max"
        ]
    except (OSError, ValueError):
        return None
    return max(min(left), 0) if left else None
