"""Start a command in several processes, by torchrun's own agent, and end as they end.

Where the command runs under a torchrun already, on one or more hosts, it just takes part.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from toypipe.compute.devices import DeviceName
from toypipe.errors import LostError, ToypipeError
from toypipe.pipeline.signals import Interrupted

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


OWN = "toypipe"
"""The agent's name for a run: so its processes know that no outer torchrun has started them."""


def in_processes(wanted: str, device: DeviceName) -> None:
    """Run this command in several processes, if that is what is asked for; then do not return.

    Args:
        wanted: How many: a number, or `auto` for as many as there are GPUs.
        device: Where to compute.

    Raises:
        ToypipeError: There cannot be so many.
        Interrupted: One of them was killed.
        typer.Exit: They have ended, with the exit code of the one that ended first; its message,
            if there was one, has been printed.
    """
    count = _count(wanted, device)
    if count == 1 or "RANK" in os.environ:
        return
    from toypipe.pipeline.cores import queue_workers

    threads = _cores() // count // (queue_workers() if "DVC_STAGE" in os.environ else 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))
    with _own_gpus(count, device):
        _run(count)
    raise typer.Exit


def _count(wanted: str, device: DeviceName) -> int:
    """Return how many processes there are to be."""
    if wanted == "1":
        return 1
    if wanted != "auto" and not (wanted.isdecimal() and int(wanted) > 0):
        raise ToypipeError(
            f"--processes (or TOYPIPE_PROCESSES) is {wanted}, expected a number from 1 on, or auto"
            " for as many as there are GPUs"
        )
    from toypipe.compute.devices import pick_device

    kind, gpus = pick_device(device).type, _gpus()
    if wanted == "auto":
        return gpus if kind == "cuda" else 1
    if kind == "mps":
        raise ToypipeError("only one process can compute on mps: leave --processes out")
    if kind == "cuda" and int(wanted) > gpus:
        raise ToypipeError(
            f"{wanted} processes need as many GPUs, but there are only {gpus} here: ask for fewer,"
            " or for --device cpu"
        )
    return int(wanted)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


@contextmanager
def _own_gpus(count: int, device: DeviceName) -> Iterator[None]:
    """Lease a GPU for each process, if they compute on GPUs."""
    from toypipe.compute.devices import pick_device

    if pick_device(device).type != "cuda":
        yield
        return
    from toypipe.pipeline.gpu_lock import gpus, lease

    names = gpus()
    with lease(count, names) as indices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(f"GPU-{names[index]}" for index in indices)
        yield


def _cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(count: int) -> None:
    """Start the processes, and wait until they have ended well."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the agent's diary: what there is to say is said below
    with tempfile.TemporaryDirectory(prefix="toypipe-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=OWN,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(folder, local_ranks_filter={0}),
            signals_to_handle="SIGINT,SIGTERM",
        )
        command = ["-m", "stages", *sys.argv[1:]]
        try:
            elastic_launch(config, sys.executable)(*command)
        except SignalException as error:
            raise typer.Exit(128 + error.sigval) from None  # rank 0 has said where it stopped
        except ChildFailedError as error:
            _explain(list(error.failures.values()))


def _explain(failures: "list[ProcessFailure]") -> NoReturn:
    """End as the process that failed: what happened to the first one has ended the others."""
    causes = [failure for failure in failures if failure.exitcode != LostError.exit_code]
    cause = min(causes or failures, key=lambda failure: failure.timestamp)
    if cause.exitcode < 0:
        name = signal.Signals(-cause.exitcode).name
        text = f"process {cause.local_rank} of this training was killed ({name})"
        raise Interrupted(-cause.exitcode, f"{text}; the same command goes on from the last state")
    left = cause.error_file_data
    if isinstance(left["message"], dict):  # a defect, as torch's `record` leaves it
        if cause.local_rank > 0:  # process 0 can be read
            print(left["message"]["extraInfo"]["py_callstack"], file=sys.stderr)
    elif "timestamp" in left:
        print(left["message"], file=sys.stderr)
    raise typer.Exit(cause.exitcode)
