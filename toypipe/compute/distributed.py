"""One training in several processes: who is who, and what they tell one another.

Each process, a rank, takes its part of every batch. Gradients, losses and the statistics of batch
norm are averaged over all ranks, so that together they take the steps that one process would. A
process alone exchanges nothing.
"""

import os
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

SOON, EVER = timedelta(minutes=2), timedelta(days=30)
"""How long a rank waits for the others: within a step, and where rank 0 waits for something."""


class _Groups:
    """The process groups of this process, beside torch's default one."""

    patient: dist.ProcessGroup | None = None
    """For what rank 0 may have to wait for, like another training."""


def rank() -> int:
    """Return the number of this process; 0 is the one that writes and shows."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Be one of the processes that torchrun has started, or alone if it has not.

    Args:
        device: Where to compute; of CUDA devices each process on a host takes another.

    Raises:
        ToypipeError: The processes cannot reach one another, or there are too few devices.
        LostError: Within, another process has gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield
        return
    if device.type == "cuda":
        _take_own_gpu()
    try:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, number, count = next(iter(rendezvous("env://", timeout=SOON)))
        # Processes that torchrun starts again find the store with what their forerunners left.
        attempt = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        dist.init_process_group(backend, timeout=SOON, world_size=count, rank=number, store=attempt)
        group = dist.new_group(timeout=EVER, backend="gloo")
    except (RuntimeError, ValueError) as error:
        what = str(error).partition("\n")[0]
        raise ToypipeError(f"the processes of this training cannot be joined: {what}") from None
    assert isinstance(group, dist.ProcessGroup)  # every process is a member
    _Groups.patient = group
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostError(
                "another process of this training has gone, or the network to it: the same"
                " command goes on from the state that was saved last"
            ) from None
        raise
    dist.destroy_process_group()


def _take_own_gpu() -> None:
    """Compute on the CUDA device that has the number of this process, on its host."""
    number = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    found = torch.cuda.device_count()
    if number >= found:
        raise ToypipeError(
            f"there are more processes than GPUs here ({found}), and each needs one: ask for fewer"
        )
    if not dist.is_nccl_available():
        raise ToypipeError(
            "this build of torch has no NCCL, by which several GPUs train together: take one"
            " process, or --device cpu"
        )
    torch.cuda.set_device(number)


def shard(count: int) -> slice:
    """Return which images of a batch this process takes.

    Args:
        count: Images in the batch; at least as many as there are processes.
    """
    return slice(rank() * count // world_size(), (rank() + 1) * count // world_size())


def shard_weight(count: int) -> float:
    """Return by what the mean loss of this process's part is multiplied.

    The mean over the processes is then that over the images; 1 where all parts are equal.

    Args:
        count: Images in the batch.
    """
    images: int = shard(count).stop - shard(count).start
    return images * world_size() / count


def all_reduce_mean(value: Tensor) -> Tensor:
    """Return the mean of a tensor over the processes."""
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


def all_reduce_max(*values: int) -> list[int]:
    """Return the largest of each value over the processes."""
    if world_size() == 1:
        return list(values)
    largest = torch.tensor(values)  # on the CPU: reading it waits for no GPU
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


def broadcast(value: Value) -> Value:
    """Return what rank 0 was given, however long that takes; the others' value is ignored."""
    values = [value]
    if world_size() > 1:
        dist.broadcast_object_list(values, group=_Groups.patient)
    return values[0]


def all_gather(value: Value) -> list[Value]:
    """Return what each process was given, by rank."""
    values = [value]
    if world_size() > 1:
        values *= world_size()
        dist.all_gather_object(values, value)
    return values


def map_batches(batches: Sequence[Tensor], work: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `torch.cat([work(batch) for batch in batches])`; each is done by one process."""
    mine = [work(batch) for batch in batches[rank() :: world_size()]]
    if world_size() == 1:
        return torch.cat(mine)
    found = all_gather([result.cpu() for result in mine])
    whole = torch.cat([found[i % world_size()][i // world_size()] for i in range(len(batches))])
    return whole.to(batches[0].device if not mine else mine[0].device)


def replicate(model: nn.Module) -> nn.Module:
    """Return what computes like a model, and averages its gradients over the processes.

    Args:
        model: The same in each process: that of rank 0 is copied to the others. It shares its
            parameters with what is returned; its batch norms now average over all images.
    """
    if world_size() == 1:
        return model
    _share_norms(model)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # a new name is to come
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)


def _share_norms(module: nn.Module) -> None:
    """Let the batch norms within a module take their statistics over all processes."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SyncBatchNorm(child))
        _share_norms(child)
