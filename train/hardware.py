"""The device of a training, its precision and free memory, and what the machine is."""

import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock

from pipeline.errors import UserError
from pipeline.storage.locks import lock

PRECISION = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FASTER = {"bf16": ("amx_bf16", "avx512_bf16"), "fp16": ("amx_fp16", "avx512_fp16")}  # of x86 processors
PROCESSORS, MEMORY = Path("/proc/cpuinfo"), Path("/proc/meminfo")
GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SLOTS = Path(tempfile.gettempdir()) / "gpu-slots"  # the same for every project folder and user of the machine


@contextmanager
def claim(folder: Path = SLOTS) -> Iterator[torch.device]:
    """Yield a GPU that no other training on this machine uses, waiting for one if need be; the CPU where there is none.

    With RUNS_PER_GPU=3 in the environment three small trainings share each; free GPUs are taken first. The claim is a
    lock on a file of `folder`, which the system drops however this process ends. Under SLURM nothing is locked: it has
    already given the job its GPU.
    """
    with claim_several(1, folder) as devices:
        yield devices[0]


@contextmanager
def claim_several(number: int, folder: Path = SLOTS) -> Iterator[list[torch.device]]:
    """Yield different GPUs for the processes of one training, as `claim` does; trainings that need several queue up.

    Raises UserError if the machine has fewer.
    """
    count = torch.cuda.device_count()
    if count and number > count:
        raise UserError(f"{number} processes need a GPU each, and this machine shows {count}; start fewer")
    if not count or "SLURM_JOB_ID" in os.environ:
        yield [torch.device(f"cuda:{index}" if count else "cpu") for index in range(number)]
        return
    with ExitStack() as stack:
        if number > 1:  # two that each hold a GPU the other waits for would wait for ever
            turn = _lock(folder, "several")
            assert turn is not None
            stack.callback(turn.release)
        free = _places(count)
        taken: list[torch.device] = []
        while len(taken) < number:
            index, held = _wait(folder, free)
            stack.callback(held.release)
            taken.append(torch.device(f"cuda:{index % count}"))
            free = [name if place % count != index % count else "" for place, name in enumerate(free)]
        yield taken


def precision(amp: str, device: torch.device) -> torch.dtype:
    """Return the type that a card's `amp` means on a device; a CPU that would only emulate it uses single precision.

    An emulated convolution takes several times as long as one in single precision.
    """
    emulated = amp != "off" and device.type == "cpu" and not _computes(amp)
    return torch.float32 if emulated else PRECISION[amp]


def autocast(amp: str, device: torch.device) -> torch.autocast:
    """Compute in the `precision` of a card's `amp` on a device."""
    kind = precision(amp, device)
    return torch.autocast(device.type, kind, enabled=kind != torch.float32)


def set_deterministic(wanted: bool) -> None:
    """Let torch use deterministic algorithms only, or the fastest ones; before the first work on a GPU.

    What has no deterministic algorithm then fails with torch's RuntimeError, which names it.
    """
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS needs, see torch's documentation
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted


def _computes(amp: str) -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        # The operator is missing where torch was built without MKLDNN, as for Apple's processors.
        available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return amp == "bf16" and available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # absent from older versions
    return any(known.get(name) for name in FASTER[amp])


def _places(count: int) -> list[str]:
    """Name the places on the GPUs as the machine names these, whichever of them this process sees.

    The first places are the GPUs themselves; their further ones follow in the same order.
    """
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = visible if len(visible) == count else [str(index) for index in range(count)]
    wanted = os.environ.get("RUNS_PER_GPU", "1")
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UserError(f"RUNS_PER_GPU={wanted!r} in the environment is no number of trainings per GPU; try 1")
    return [*names, *(f"{name}.{place}" for place in range(2, int(wanted) + 1) for name in names)]


def _lock(folder: Path, name: str, *, wait: bool = True) -> FileLock | None:
    """Lock a file of the folder for this process; without `wait`, return None if another one has it."""
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # only the user who made the folder can open it to all, whatever the umask
        folder.chmod(0o777)
    return lock(folder / f"{name.replace('/', '_')}.lock", wait=wait)


def _wait(folder: Path, names: list[str]) -> tuple[int, FileLock]:
    """Lock the first free one of some places ("" is none), as soon as there is one; return which, and its lock."""
    pause = 0.1
    while True:
        for index, name in enumerate(names):
            held = _lock(folder, name, wait=False) if name else None
            if held is not None:
                return index, held
        if pause < 0.15:
            print("all GPUs are in use by other trainings; waiting for one", flush=True)
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 1.5, 5.0)


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
    """Return how many bytes this process may still take on a device, as far as the system reports it; otherwise 0.

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
