"""Where images lie: in memory if they fit, else in their file."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from toypipe.data.split import Split, StoredSplit, load_split, open_split

SHARE = 0.4  # of what is free: images are copied once, and the network needs memory too
CPU = torch.device("cpu")
GROUPS = Path("/sys/fs/cgroup")
FILES = {  # of control groups: a folder, a limit, and in memory.stat what is taken, in bytes
    "": ("", "memory.max", "anon"),  # version 2
    "memory": ("memory", "memory.limit_in_bytes", "total_rss"),  # version 1
}


def load_or_open(path: Path, device: torch.device = CPU) -> Split | StoredSplit:
    """Read images into the host's memory, if there and on the device is room; else open their file.

    Raises ToypipeError if the file is missing, damaged or something else.
    """
    with suppress(FileNotFoundError):  # `load_split` says what makes it
        if path.stat().st_size > SHARE * min(free_memory(CPU), free_memory(device)):
            return open_split(path)
    return load_split(path)


def free_memory(device: torch.device) -> int:
    """Return how many bytes of a device's memory this process may still take."""
    match device.type:
        case "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            return free
        case "mps":
            return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    import psutil

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # that train together on this host
    shared = min(psutil.virtual_memory().available, *_left_by_groups()) // processes
    return min([int(shared), *_left_by_limits()])


def _left_by_limits() -> Iterator[int]:
    """Yield what the limits of this process leave of its memory (`ulimit -d`, `ulimit -v`)."""
    if sys.platform == "linux":
        import resource

        import psutil

        used = psutil.Process().memory_info()
        for kind, taken in ((resource.RLIMIT_DATA, used.data), (resource.RLIMIT_AS, used.vms)):
            limit, _ = resource.getrlimit(kind)
            if limit != resource.RLIM_INFINITY:
                yield max(limit - taken, 0)


def _left_by_groups() -> Iterator[int]:
    """Yield what the control groups of this process leave: those of a container, or a batch system.

    What they hold of files counts as free: the system gives it up.
    """
    with suppress(OSError):  # only Linux has them
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in FILES:
                folder, most, used = FILES[controllers]
                own = GROUPS / folder / name.lstrip("/")
                for group in (own, *own.parents):
                    with suppress(OSError, ValueError):  # the outermost group has no limit
                        limit = int((group / most).read_text())
                        yield max(limit - _read_stat(group / "memory.stat")[used], 0)


def _read_stat(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {name: int(value) for name, value in lines}
