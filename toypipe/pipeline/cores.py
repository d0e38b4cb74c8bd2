"""Cores: the trainings that a queue of DVC runs at the same time share them."""

import os
import sys

import torch


def share_cores(device: torch.device) -> None:
    """Take as many threads as there are cores for each worker of the queue; alone, take all.

    The number of threads decides the last bits of a result. So it is settled before a training
    begins, by what the user has asked for: the workers of `dvc queue start -j N` that live, whether
    they are at work or not. OMP_NUM_THREADS overrules it.

    Evaluation does not share: it takes seconds, and when it begins some workers may have ended.

    Args:
        device: Where to compute. Beside a GPU, the threads of the CPU have little to do.
    """
    if device.type != "cpu" or "DVC_STAGE" not in os.environ or "OMP_NUM_THREADS" in os.environ:
        return
    workers, cores = queue_workers(), torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(max(1, cores // workers))
        print(
            f"the {workers} workers of the queue share {cores} cores: this training takes"
            f" {torch.get_num_threads()}",
            file=sys.stderr,
            flush=True,
        )


def queue_workers() -> int:
    """Return how many workers the queue has that runs this process; 1 if none does.

    DVC tells a stage nothing of its queue, but each worker is a process,
    `dvc exp queue-worker dvc-exp-<queue>-<number>@localhost`, and a stage descends from one.
    """
    import psutil  # only a stage under DVC pays for it

    names: dict[int, str] = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []  # none of a process that one may not look at
        if "queue-worker" in words[:-1]:
            names[process.pid] = words[words.index("queue-worker") + 1]
    for ancestor in psutil.Process().parents():
        if ancestor.pid in names:
            queue = _queue(names[ancestor.pid])
            return len({name for name in names.values() if _queue(name) == queue})
    return 1


def _queue(worker: str) -> str:
    return worker.rpartition("-")[0]
