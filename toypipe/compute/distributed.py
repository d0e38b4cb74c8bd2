"""One training in several processes, by torch.distributed.

Each process (rank) takes its shard of every batch. Gradients, losses and batch norm statistics are
averaged over all ranks, so that together they take the steps that one process would take. All
functions work in a single process too, where they exchange nothing.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from toypipe.compute.sync_norm import SyncBatchNorm
from toypipe.errors import LostError, ToypipeError

Value = TypeVar("Value")
Item = TypeVar("Item")

TIMEOUT = timedelta(minutes=2)  # how long a rank waits for the others within a step
PATIENCE = timedelta(days=30)  # the same in `broadcast`: rank 0 may wait for another training
BEAT = 0.1  # seconds between two exchanges of numbers, about
_PATIENT: list[dist.ProcessGroup] = []  # the group with this patience


def rank() -> int:
    """Return the number of this process; process 0 writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun has started; do nothing if it has started none.

    On CUDA, each process on a host takes a device of its own. Raises ToypipeError if the processes
    cannot connect or there are too few devices, and LostError if another process ended or the
    network to it failed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield
        return
    local, gpus = int(os.environ.get("LOCAL_RANK", os.environ["RANK"])), torch.cuda.device_count()
    if device.type == "cuda" and local >= gpus:
        raise ToypipeError(
            f"each process needs a GPU, and there are only {gpus} here: ask for fewer processes"
        )
    try:
        if device.type == "cuda":
            torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, number, count = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        # Processes that torchrun restarts find the store as the first attempt left it.
        fresh = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        dist.init_process_group(
            backend, timeout=TIMEOUT, world_size=count, rank=number, store=fresh
        )
        group = dist.new_group(timeout=PATIENCE, backend="gloo")
    except (RuntimeError, ValueError) as error:
        what = str(error).partition("\n")[0]
        raise ToypipeError(f"the processes of this training cannot connect: {what}") from None
    assert isinstance(group, dist.ProcessGroup)  # every process is a member
    _PATIENT.append(group)
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostError(
                "another process of this training ended, or the network to it failed: the same"
                " command resumes from the last saved state"
            ) from None
        raise
    dist.destroy_process_group()
    _PATIENT.clear()


def shard(count: int) -> slice:
    """Return this process's part of a batch of `count` images, at least one per process."""
    return slice(rank() * count // world_size(), (rank() + 1) * count // world_size())


def shard_weight(count: int) -> float:
    """Return the factor for the mean loss of this process's shard of `count` images.

    The mean over the processes is then the mean over the images; 1 where all shards are equal.
    """
    images: int = shard(count).stop - shard(count).start
    return images * world_size() / count


def all_reduce_mean(value: Tensor) -> Tensor:
    """Average a tensor over the processes, in place."""
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


def all_reduce_max(*values: int) -> list[int]:
    """Return the maximum of each value over the processes."""
    if world_size() == 1:
        return list(values)
    largest = torch.tensor(values)  # on the CPU: reading it does not synchronise with a GPU
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


class Beat:
    """Exchanges numbers about ten times a second: after each small step it would cost too much."""

    def __init__(self) -> None:
        """Begin with the next step."""
        self._steps, self._due, self._start = 0, 1, time.monotonic()

    def all_reduce_max(self, *values: int, now: bool) -> list[int]:
        """Return the maximum of each value over the processes, or zeros where it is not time yet.

        All processes must call this after each step. `now` asks for an exchange, of all of them.
        """
        self._steps += 1
        if world_size() > 1 and not now and self._steps < self._due:
            return [0] * len(values)
        steps = self._steps * BEAT / max(time.monotonic() - self._start, 1e-9)
        *largest, fewest = all_reduce_max(*values, -min(int(steps), 1000))
        self._steps, self._due, self._start = 0, -fewest, time.monotonic()
        return largest


def broadcast(value: Value) -> Value:
    """Return the value of rank 0, however long it takes."""
    values = [value]
    if world_size() > 1:
        dist.broadcast_object_list(values, group=_PATIENT[0])
    return values[0]


def all_gather(value: Value) -> list[Value]:
    """Return the values of all processes, by rank."""
    values = [value]
    if world_size() > 1:
        values *= world_size()
        dist.all_gather_object(values, value)
    return values


def map_batches(batches: Sequence[Item], work: Callable[[Item], Tensor]) -> Tensor:
    """Return `torch.cat([work(batch) for batch in batches])`, divided among the processes.

    With several processes, the result is on the CPU.
    """
    own = [work(batch) for batch in batches[rank() :: world_size()]]
    if world_size() == 1:
        return torch.cat(own)
    found = all_gather([result.cpu() for result in own])
    return torch.cat([found[i % world_size()][i // world_size()] for i in range(len(batches))])


def replicate(model: nn.Module) -> nn.Module:
    """Wrap a model so that its gradients are averaged over the processes.

    Rank 0's weights are copied to the other processes, and batch norms become `SyncBatchNorm`. In
    a single process this returns the model itself.
    """
    if world_size() == 1:
        return model
    _sync_norms(model)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # about its own name
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)


def _sync_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SyncBatchNorm(child))
        _sync_norms(child)
