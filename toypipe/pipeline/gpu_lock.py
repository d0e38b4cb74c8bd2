"""GPU locks: one command at a time computes on a GPU, and a dead process holds no lock.

A lock is a file named after the GPU's UUID: an index would not do, because each
CUDA_VISIBLE_DEVICES counts the same GPUs differently. Evaluation takes a lock too, because it
could end a training beside it for lack of memory.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from toypipe.compute import distributed
from toypipe.errors import ToypipeError

POLL = 0.5  # seconds between two checks for a free GPU


@contextmanager
def locked_gpu(device: torch.device) -> Iterator[None]:
    """Lock a GPU and make it torch's current device; on other devices, do nothing."""
    if device.type != "cuda" or distributed.world_size() > 1:  # their parent holds the locks
        yield
        return
    with lock_gpus(1, visible_gpus()) as (index,):
        torch.cuda.set_device(index)
        try:
            yield
        finally:
            torch.cuda.empty_cache()  # the next command may start before this process ends


def visible_gpus() -> dict[int, str]:
    """Return index and UUID of each visible GPU of the same model as the first.

    Another model gives other bits, and a result must not depend on which GPU is free. Reading the
    properties starts no CUDA context, which would cost memory on each GPU.
    """
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {i: str(gpu.uuid) for i, gpu in enumerate(found) if gpu.name == found[0].name}


@contextmanager
def lock_gpus(count: int, gpus: Mapping[int, str]) -> Iterator[list[int]]:
    """Lock `count` GPUs, all at once; wait until that many are free.

    A waiting command holds no lock, so that two of them never wait for each other. A command that
    needs many GPUs may be overtaken by commands that need few.

    `gpus` are those to choose from: their indices, and names that every process uses. Yields the
    indices of the locked ones. Raises ToypipeError if there are too few.
    """
    if count > len(gpus):
        raise ToypipeError(
            f"{count} GPUs of one model are needed, but there are {len(gpus)}: ask for fewer"
        )
    folder = Path(os.environ.get("DVC_ROOT", "."), ".toypipe", "devices")
    folder.mkdir(parents=True, exist_ok=True)
    taken = _take(count, gpus, folder)
    if taken is None:
        wanted = "a GPU" if count == 1 else f"{count} GPUs"
        message = f"waiting for {wanted}: other commands of this project use them (toypipe runs)"
        print(message, file=sys.stderr, flush=True)
        while (taken := _take(count, gpus, folder)) is None:
            time.sleep(POLL)
    indices, locks = taken
    with locks:
        yield indices


def _take(count: int, gpus: Mapping[int, str], folder: Path) -> tuple[list[int], ExitStack] | None:
    """Lock the first free GPUs; lock none if they are too few."""
    # One process at a time: otherwise two could each lock half of what both need, forever.
    with FileLock(folder / "taking.lock"), ExitStack() as locks:
        indices: list[int] = []
        for index, name in gpus.items():
            with suppress(Timeout):
                locks.enter_context(FileLock(folder / f"{name}.lock", timeout=0))
                indices.append(index)
            if len(indices) == count:
                return indices, locks.pop_all()
    return None
