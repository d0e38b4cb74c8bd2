"""Run a command in several processes, by torchrun's agent.

Where torchrun runs the command already, on one or more hosts, the command just takes part.
"""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import torch
from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from toypipe import errors
from toypipe.compute import DeviceName
from toypipe.compute.devices import pick_device
from toypipe.errors import ToypipeError
from toypipe.pipeline.gpu_lock import lock_gpus, visible_gpus
from toypipe.pipeline.signals import OWN_RUN, SIGNALS


def in_processes(wanted: str, device: DeviceName) -> None:
    """Run this command in several processes, if the user asks for them; then end.

    `wanted` is their number, or `auto` for one per GPU. Raises ToypipeError if so many cannot be
    started, and SystemExit when they have ended: 0 if all succeeded, 1 if one failed (its message
    is printed), 128 and the signal's number after a signal.
    """
    if wanted != "auto" and not (wanted.isdecimal() and int(wanted) > 0):
        raise ToypipeError(
            f"--processes (or TOYPIPE_PROCESSES) is {wanted}, expected a number from 1 on, or auto"
            " for one process per GPU"
        )
    kind = pick_device(device).type
    gpus = visible_gpus() if kind == "cuda" else {}
    count = (len(gpus) or 1) if wanted == "auto" else int(wanted)
    if count == 1 or "RANK" in os.environ:
        return
    if kind == "mps":
        raise ToypipeError("only one process can compute on mps: leave out --processes")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // count)))
    with ExitStack() as locks:
        if gpus:
            own = locks.enter_context(lock_gpus(count, gpus))
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(f"GPU-{gpus[index]}" for index in own)
        sys.exit(_launch(count))


def _launch(count: int) -> int:
    logging.disable()  # the agent's log repeats what is printed below
    agent = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=localhost"]
    agent += [f"--rdzv-id={OWN_RUN}", f"--nproc-per-node={count}", "--local-ranks-filter=0"]
    agent += ["--signals-to-handle=SIGINT,SIGTERM"]
    with TemporaryDirectory(prefix="toypipe-") as folder:
        command = [f"--log-dir={folder}", "-m", "stages", *sys.argv[1:]]
        try:
            run.run(run.parse_args([*agent, *command]))
        except SignalException as error:
            return 128 + int(error.sigval)  # process 0 has said where it stopped
        except ChildFailedError as error:
            return _explain(list(error.failures.values()))
    return 0


def _explain(failures: Sequence[ProcessFailure]) -> int:
    """Print why the first process failed, which made the others end; return the exit code."""
    causes = [failure for failure in failures if not _left_by(failure).startswith("LostError")]
    cause = min(causes or failures, key=lambda failure: failure.timestamp)
    if cause.exitcode in {128 + number for number in SIGNALS}:
        return cause.exitcode  # a signal to one process interrupts all, and process 0 says where
    name, _, text = _left_by(cause).partition(": ")
    if cause.exitcode < 0:
        text = f"process {cause.local_rank} was killed ({cause.signal_name()}); the same"
        print(f"error: {text} command resumes from the last saved state", file=sys.stderr)
    elif hasattr(errors, name):
        print(f"error: {text}", file=sys.stderr)
    elif cause.local_rank > 0 and isinstance(left := cause.error_file_data["message"], dict):
        print(left["extraInfo"]["py_callstack"], file=sys.stderr)  # process 0 prints its own
    return 1


def _left_by(failure: ProcessFailure) -> str:
    """Return the name and text of the exception that ended a process."""
    left = failure.error_file_data["message"]
    return str(left["message"] if isinstance(left, dict) else left)
