"""Where a run computes, and how exactly."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils import deterministic

from toypipe.compute import DeviceName, distributed
from toypipe.errors import ToypipeError, is_out_of_memory

NVIDIA = Path("/dev/nvidiactl")  # there, where a driver of NVIDIA is loaded


def pick_device(name: DeviceName) -> torch.device:
    """Find a device and make its arithmetic exact and repeatable.

    float32 means float32 (TF32 is off), and algorithms are chosen by the shapes of the data, never
    by which was faster today. `auto` takes CUDA where it is available, else MPS, else the CPU.
    Raises ToypipeError if this machine, or this build of torch, lacks the device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        if not available["cuda"]:
            _refuse_idle_gpu()
        name = next(known for known in ("cuda", "mps", "cpu") if available[known])
    if not available[name]:
        found = ", ".join(known for known in available if available[known])
        raise ToypipeError(
            f"the device {name} is not available here (found: {found}). Leave out --device and"
            " TOYPIPE_DEVICE to take the best one"
        )
    _keep_freed_memory()
    if name == "cuda":
        # cuBLAS reads this when CUDA starts: with it, equal calls give equal bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        # An operation that cannot repeat to the bit is an error. `use_deterministic_algorithms`
        # does the same, but imports torch's compiler.
        torch.set_deterministic_debug_mode("error")
        # No operation here reads memory that was never written.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device(name)


def _refuse_idle_gpu() -> None:
    """Raise ToypipeError if there is a GPU that torch was built for, but cannot use.

    That is what a driver older than torch's CUDA looks like: no error, and a training on the CPU.
    """
    hidden = "CUDA_VISIBLE_DEVICES" in os.environ
    if torch.version.cuda and NVIDIA.exists() and not hidden:
        raise ToypipeError(
            f"this machine has an NVIDIA driver, but torch {torch.__version__}, built for CUDA"
            f" {torch.version.cuda}, finds no GPU: the driver may be too old (`nvidia-smi` shows"
            " it). Update it, or choose --device cpu (TOYPIPE_DEVICE=cpu)"
        )


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of large freed tensors for the next ones.

    By default it returns every block of 32 MiB or more to the system and gets the next one page by
    page, which takes ten times as long as filling it.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no separate blocks, so that all are kept alike
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: however much lies unused


def describe(device: torch.device) -> dict[str, str]:
    """Return what decides the bits of a result besides parameters, data and code."""
    capability = torch.backends.cpu.get_cpu_capability()
    processes = str(distributed.world_size())
    if device.type == "cuda":
        hardware = {
            "device": torch.cuda.get_device_name(device),
            "cudnn": str(torch.backends.cudnn.version()),
            "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
            "tf32": os.environ.get("NVIDIA_TF32_OVERRIDE", ""),
            "cpu": capability,  # the first weights are drawn there, by one thread
            "processes": processes,
        }
    else:
        hardware = {
            "device": device.type,
            "cpu": f"{_cpu_name()}, {capability}",
            "processes": processes,
            "threads": str(torch.get_num_threads()),
        }
    return {**hardware, "torch": torch.__version__, "torchvision": version("torchvision")}


def _cpu_name() -> str:
    with suppress(OSError):  # only Linux has this file
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def explained(key: str, batch_size: int) -> Iterator[None]:
    """Turn two errors into a ToypipeError: out of memory, and no deterministic algorithm."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        what = str(error).partition("\n")[0]
        if is_out_of_memory(error):
            message = f"out of memory with {key} {batch_size} ({what}): lower it"
        elif "does not have a deterministic implementation" in str(error):
            message = (
                "this network has no deterministic implementation on this device"
                f" ({what.partition(',')[0]}): choose another train.model, or --device cpu"
            )
        else:
            raise
        raise ToypipeError(message) from None
