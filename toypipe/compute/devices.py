"""Where a run computes, and how exactly."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch.utils import deterministic

from toypipe.compute import distributed
from toypipe.errors import ToypipeError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(name: DeviceName) -> torch.device:
    """Find a device and make its arithmetic exact and repeatable.

    float32 means float32 (no TF32), and of several algorithms one is chosen by what is asked,
    never by which was faster today.

    Args:
        name: `auto` takes CUDA if there is one, else MPS, else the CPU.

    Raises:
        ToypipeError: This machine, or this build of torch, has no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(known for known in ("cuda", "mps", "cpu") if present[known])
    if not present[name]:
        found = ", ".join(known for known in present if present[known])
        raise ToypipeError(
            f"there is no device {name} here (found: {found}). Leave --device and TOYPIPE_DEVICE"
            " out to take the best there is"
        )
    _keep_freed_memory()
    if name == "cuda":
        # cuBLAS reads this when CUDA starts: with it, equal calls give equal bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        # What cannot repeat to the bit is an error; `use_deterministic_algorithms` would say the
        # same, but imports torch's compiler. No operation here reads memory that was never written.
        torch.set_deterministic_debug_mode("error")
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device(name)


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of large tensors that are freed, for the next ones.

    From 32 MiB on it gives every block back to the system, and gets the next one page by page,
    which takes ten times as long as filling it.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no block by itself, so that all are kept alike
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: how much may lie unused


def describe(device: torch.device) -> dict[str, str]:
    """Return what decides the bits of a result besides parameters, data and code."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": f"{_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
        "processes": str(distributed.world_size()),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
    }


def _cpu_name() -> str:
    with suppress(OSError):  # where there is no such file, Python knows the name
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def explained(key: str, batch_size: int) -> Iterator[None]:
    """Explain what a device refuses: too much memory, or what it cannot repeat to the bit.

    Args:
        key: The parameter that says how many images are computed at once.
        batch_size: Its value.

    Raises:
        ToypipeError: It refused.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        what = str(error).partition("\n")[0]
        words = ("out of memory", "allocate memory")  # of CUDA and MPS; of the CPU
        if isinstance(error, MemoryError) or any(word in str(error) for word in words):
            message = f"memory ran out with {key} {batch_size} ({what}): lower it"
        elif "does not have a deterministic implementation" in str(error):
            message = (
                f"this network cannot be computed on this device so that it repeats to the bit"
                f" ({what.partition(',')[0]}): take another train.model, or --device cpu"
            )
        else:
            raise
        raise ToypipeError(message) from None
