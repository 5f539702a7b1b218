"""What this machine is: processor, memory, device; and memory that is kept once taken.

Nothing here imports PyTorch unless a device other than the CPU may be there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path

from tellapart.errors import TellapartError
from tellapart.extras import pytorch_is_here, require_pytorch

#: Packages whose version can change a number.
PACKAGES = (
    "tellapart",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "accelerate",
)

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True)
class Machine:
    """Where something was computed."""

    processor: str
    cores: int
    #: That this process may use; 0: unknown.
    memory_bytes: int
    system: str
    python: str
    #: "cpu", "cuda", ...
    device: str
    #: What the maker calls the device: the processor's name, or the accelerator's.
    device_name: str
    #: Whether the processor multiplies bfloat16 in hardware.
    bf16: bool
    #: Versions of the packages that can change a number.
    packages: Mapping[str, str]


def describe_machine(device: str) -> Machine:
    """What a run writes down about where it ran.

    Args:
        device: what it computes on, as :func:`resolve_device` gave it. PyTorch is asked for
            the name of any but the CPU.
    """
    return Machine(
        processor=processor_name(),
        cores=num_cores(),
        memory_bytes=memory_bytes(),
        system=platform.platform(),
        python=platform.python_version(),
        device=device,
        device_name=_device_name(device),
        bf16=has_bf16(),
        packages=package_versions(),
    )


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that can change a number."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


# --- processor and memory -----------------------------------------------------------------


@lru_cache(maxsize=1)
def processor_name() -> str:
    """The processor as its maker calls it, for example "AMD EPYC 7763"."""
    for line in _text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def num_cores() -> int:
    """Processor cores that this process may use, container limits respected."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _text("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def memory_bytes() -> int:
    """Memory that this process may use, in bytes, container limits respected; 0: unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return _windows_memory_bytes()
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def peak_memory_bytes() -> int:
    """Most memory that this process has held so far, mapped files included; 0: unknown."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", _text("/proc/self/status"), re.MULTILINE)
    if match:
        return int(match[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


@lru_cache(maxsize=1)
def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware."""
    wanted = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "svebf16"}
    return not _processor_flags().isdisjoint(wanted)


def has_amx() -> bool:
    """Whether the processor has Intel's matrix tiles, whose kernels go by the size of a request."""
    return "amx_tile" in _processor_flags()


def _processor_flags() -> set[str]:
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return set(match[1].split()) if match else set()


def _text(path: str) -> str:
    """The content of a file of the kernel's, "" where there is none."""
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _windows_memory_bytes() -> int:
    windll = getattr(ctypes, "windll", None)
    if windll is None:
        return 0
    # MEMORYSTATUSEX: its own size, the load in percent, then seven 64-bit sizes.
    status = (ctypes.c_uint64 * 8)()
    status[0] = ctypes.sizeof(status)
    windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status[1])


# --- memory that is kept ------------------------------------------------------------------

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_GIBIBYTE = 1 << 30


def keep_memory() -> bool:
    """Have the C library keep memory that is freed, instead of giving it back each time.

    glibc gives large blocks back to the system at once, so a network on a CPU spends much
    of its time in page faults of memory that it had a moment ago. Measured on 2 cores (AMD
    EPYC) with PyTorch 2.14: a training step of EfficientNet-Lite0, 32 images of 128 pixels,
    takes 0.59 s instead of 0.83 s, one of a small CNN 0.16 s instead of 0.30 s; page faults a
    step fall from 114,000 to 3,000. Peak memory is the same within 3 %.

    Returns:
        Whether it was done: on Linux with glibc only, and not where ``MALLOC_*`` variables
        already say what is wanted.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    if any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ):
        return False
    library = ctypes.CDLL(None)
    settings = (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, 2 * _GIBIBYTE - 1),  # the largest that mallopt takes
        (_M_TOP_PAD, 64 << 20),
    )
    return all(library.mallopt(option, value) == 1 for option, value in settings)


# --- device ---------------------------------------------------------------------------------


@contextmanager
def single_threaded(*modules: str) -> Iterator[None]:
    """One thread for each product of small matrices inside.

    The threads of BLAS and OpenMP spin while they wait for each other, which takes longer than
    the product: fitting a probe on 2,000 images took 0.05 s of processor time with one thread
    and 0.8 s with two; where other work has the cores, 0.07 s and 1.2 s. The result no longer
    depends on the number of cores, either.

    Args:
        modules: what will be used inside and brings threads of its own; imported first, because
            only what is loaded can be limited.
    """
    for name in modules:
        import_module(name)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def resolve_device(name: str = "auto") -> str:
    """The device to compute on: ``name`` if it is here; for "auto" the fastest that is.

    Raises:
        TellapartError: there is no such device here.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise TellapartError(f"There is no device '{name}'; choose from {', '.join(DEVICES)}.")
    if kind == "cpu" or (kind == "auto" and not _may_have_accelerator()):
        return "cpu"
    here = _accelerators()
    if kind == "auto":
        return here[0] if here else "cpu"
    if kind not in here or (":" in name and not _has_number(name)):
        require_pytorch(f"The device '{name}'")
        found = ", ".join(("cpu", *here))
        raise TellapartError(
            f"The device '{name}' is not available here (there is: {found}); use --device auto."
        )
    return name


def available_devices() -> tuple[str, ...]:
    """Kinds of device that can be computed on here, the fastest first."""
    return (*(_accelerators() if _may_have_accelerator() else ()), "cpu")


def _may_have_accelerator() -> bool:
    """False only where PyTorch, which takes seconds to import, would surely find none."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return False
    if version.endswith("+cpu"):
        return False
    if sys.platform != "linux":
        return True
    devices = Path("/dev")
    if any((devices / name).exists() for name in ("kfd", "dxg", "dri", "nvidiactl")):
        return True
    return any(devices.glob("nvidia[0-9]*"))


def _accelerators() -> tuple[str, ...]:
    """Kinds of device that PyTorch can use here, the fastest first."""
    if not pytorch_is_here():
        return ()
    import torch

    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        found.append("xpu")
    return tuple(found)


def _has_number(name: str) -> bool:
    import torch

    kind, _, number = name.partition(":")
    count = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count}.get(kind, lambda: 1)
    return number.isdigit() and int(number) < count()


def _device_name(device: str) -> str:
    """What the maker calls a device."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return processor_name()
    if kind in ("cuda", "xpu"):
        import torch

        return str(getattr(torch, kind).get_device_name(device))
    return device
