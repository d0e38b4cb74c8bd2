"""GPUs on lease: who computes has them to itself, and a dead process has none.

A lease is a lock on a file that is named after the GPU itself. Its index would not do: each
CUDA_VISIBLE_DEVICES counts the same GPUs in its own way.

Evaluation takes one too, though it is soon over: beside a training, it could end that for lack of
memory. By hand it is the same as under DVC, for the same reason.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from toypipe.compute import distributed
from toypipe.errors import ToypipeError

if TYPE_CHECKING:
    import torch

POLL = 0.5  # seconds between two looks at what is free


@contextmanager
def own_gpu(device: "torch.device") -> Iterator[None]:
    """Compute on a GPU that nobody else in this project computes on; elsewhere, do nothing.

    It becomes torch's current device: from here on, "cuda" means this one.

    Args:
        device: Where to compute.

    Raises:
        Interrupted: The process was asked to end while it waited.
    """
    if (
        device.type != "cuda" or distributed.world_size() > 1
    ):  # of several processes, who started them leases
        yield
        return
    import torch

    with lease(1, gpus()) as (index,):
        torch.cuda.set_device(index)
        try:
            yield
        finally:
            torch.cuda.empty_cache()  # the next one may come before this process has ended


def gpus() -> dict[int, str]:
    """Return index and UUID of each visible GPU of the first one's model.

    Another model gives other bits, and what comes out must not depend on which happens to be free.
    No GPU is started for this: a context on each would cost memory.
    """
    import torch

    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {i: str(gpu.uuid) for i, gpu in enumerate(found) if gpu.name == found[0].name}


@contextmanager
def lease(count: int, gpus: Mapping[int, str]) -> Iterator[list[int]]:
    """Have some GPUs to oneself, and wait for them if need be: for all, holding none meanwhile.

    So two that each want several never wait for each other; but who wants many may be overtaken by
    those who want few.

    Args:
        count: How many.
        gpus: Those to choose from: a name for each index, the same in every process.

    Yields:
        Their indices.

    Raises:
        ToypipeError: There are not as many.
        Interrupted: The process was asked to end while it waited.
    """
    if count > len(gpus):
        raise ToypipeError(
            f"this needs {count} GPUs of one model, but there are {len(gpus)}: ask for fewer"
        )
    folder = Path(os.environ.get("DVC_ROOT", "."), ".toypipe", "devices")
    folder.mkdir(parents=True, exist_ok=True)
    taken = _take(count, gpus, folder)
    if taken is None:
        wanted = "a GPU" if count == 1 else f"{count} GPUs"
        print(
            f"waiting for {wanted}: other commands of this project compute on those there are"
            " (see `toypipe runs`)",
            file=sys.stderr,
            flush=True,
        )
        while (taken := _take(count, gpus, folder)) is None:
            time.sleep(POLL)
    indices, locks = taken
    with locks:
        yield indices


def _take(count: int, gpus: Mapping[int, str], folder: Path) -> tuple[list[int], ExitStack] | None:
    """Lock the first GPUs that are free, or none if they are too few."""
    # One process at a time: two could lock half of what each wants, over and over.
    with FileLock(folder / "taking.lock"), ExitStack() as locks:
        indices: list[int] = []
        for index, name in gpus.items():
            with suppress(Timeout):
                locks.enter_context(FileLock(folder / f"{name}.lock", timeout=0))
                indices.append(index)
            if len(indices) == count:
                return indices, locks.pop_all()
    return None
