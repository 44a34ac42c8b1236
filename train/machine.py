"""What a program runs on, to be recorded with what it makes."""

import os
import platform
from pathlib import Path

import torch

PROCESSORS = Path("/proc/cpuinfo")


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
