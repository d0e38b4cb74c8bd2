"""Resume: each training has a folder that holds its state, and the next call continues there.

The folder's name is a hash of everything that decides the result, so that the same training finds
its state again. A finished training is a state with no steps left: it is delivered by the code
that resumes any other.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from toypipe.compute import distributed
from toypipe.data.files import DAMAGED, json_bytes, load_archive, whole
from toypipe.errors import BusyError, ToypipeError
from toypipe.params.schema import TrainParams
from toypipe.pipeline.live import Live
from toypipe.pipeline.run_store import delete, locked, prune, read_record, runs_folder
from toypipe.pipeline.signals import Interrupted, interrupts
from toypipe.training.loop import Step, require_finite
from toypipe.training.state import Epoch, TrainingState

SOONEST, LATEST = 1.0, 55.0  # seconds between two saves; within these they cost 0.5 % of the time
Events = Iterator[Step | Epoch]
UNSOUND = "the saved state of this training is damaged: starting from the beginning"


class RunFolder:
    """The folder of one training. Of several processes, only the first writes there.

    What it keeps is for later: a failure to keep it never stops the training.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        """Open a folder, which need not exist; with `writes` off, change nothing in it."""
        self.path = path
        self.writes = writes
        self._saved, self._cost = time.monotonic(), 0.025  # a guess: the first save after 5 s

    def note(self, **changes: Any) -> None:
        """Change fields of run.json."""
        if self.writes:
            record = read_record(self.path).model_copy(update=changes)
            self.write("run.json", json_bytes(record.model_dump()))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, unless the folder was removed; a full disk costs it, not the training."""
        if self.writes and self.path.is_dir():
            with suppress(OSError), whole(self.path / name) as file:
                file.write(content)

    def say(self, text: str) -> None:
        """Print a line for the user, and log it."""
        if self.writes:
            print(text, file=sys.stderr, flush=True)
            self.log(text)

    def log(self, text: str) -> None:
        """Add a line with the time to log.txt; a full disk does not stop the training."""
        if self.writes:
            with suppress(OSError), (self.path / "log.txt").open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}  {text}\n")

    def save_due(self) -> bool:
        """Tell whether it is time to save the state."""
        interval = min(LATEST, max(SOONEST, 200 * self._cost))
        return self.writes and time.monotonic() - self._saved > interval

    def save(self, run: TrainingState, *, finished: bool = False) -> str:
        """Write the state to the disk, safe from a power cut. All processes must call this.

        Returns where the same command continues, in words.
        """
        start = time.monotonic()
        state, where = run.state_dict(), "there"
        if not self.writes:
            return "from the beginning"
        try:
            with whole(self.path / "state.pt") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            done = run.epochs[-1].epoch if run.epochs else 0
            self.note(epoch=done + run.steps / max(len(run.losses), 1), finished=finished)
        except OSError as error:
            self.say(f"the state could not be saved ({error.strerror})")
            where = "from the state that was saved before"
        self._saved = time.monotonic()
        self._cost = self._saved - start
        return where

    def resume(self, build: Callable[[], TrainingState]) -> TrainingState:
        """Build a run and put it where it was saved last; without a sound state, it is fresh."""
        run, state = build(), distributed.broadcast(self._load())
        if state is None:
            self.note(finished=False, epoch=0.0)
            return run
        try:
            run.load_state_dict(state)
        except torch.OutOfMemoryError:
            raise  # the state is sound
        except DAMAGED:
            self.say(UNSOUND)
            self.note(finished=False, epoch=0.0)
            return build()
        if self.has_finished():
            force = f"to train again, run `toypipe runs --clear {self.path.name}` first"
            self.say(f"this training is finished (run {self.path.name}): delivering it; {force}")
        else:
            self.say(f"resuming after {_place(run)}")
        return run

    def has_finished(self) -> bool:
        """Tell whether the finished training is kept."""
        return self.writes and read_record(self.path).finished

    def _load(self) -> dict[str, Any] | None:
        path = self.path / "state.pt"
        try:
            return load_archive(path, remedy="") if self.writes and path.exists() else None
        except ToypipeError:
            self.say(UNSOUND)
            return None


@contextmanager
def claimed(values: Mapping[str, Any], machine: Mapping[str, str]) -> Iterator[RunFolder]:
    """Lock the folder of a training, for this process and those that train with it.

    The result is decided by `values` (parameters, and the md5 of data and code) and by `machine`
    (hardware and versions). Raises BusyError if another process runs the same training. Under DVC
    this waits for it instead: it belongs to another experiment, and its result serves both.
    Where the folder cannot be made or locked, the training goes on and keeps nothing.
    """
    text = json.dumps([values, machine], sort_keys=True)
    key = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]
    path = runs_folder() / key
    if distributed.rank() > 0:
        yield RunFolder(path, writes=False)
        return
    folder = RunFolder(path)
    with ExitStack() as stack:
        try:
            # One second, because `toypipe runs` holds each lock for a moment.
            if not stack.enter_context(locked(path, seconds=1)):
                who = f"process {read_record(path).pid} is running exactly this training"
                if "DVC_STAGE" not in os.environ:
                    raise BusyError(f"{who} (run {key}): wait for it, or stop it")
                print(f"{who} (run {key}): waiting for its result", file=sys.stderr, flush=True)
                stack.enter_context(locked(path, seconds=-1))
        except OSError as error:
            folder = RunFolder(path, writes=False)
            why = f"{error.filename}: {error.strerror}"
            print(f"not kept, so a stop loses this training ({why})", file=sys.stderr, flush=True)
        process = psutil.Process()
        folder.note(
            values=values,
            machine=machine,
            experiment=os.environ.get("DVC_EXP_NAME", ""),
            pid=process.pid,
            started=process.create_time(),
            used=time.time(),
        )
        stack.callback(folder.note, pid=0)
        with suppress(OSError):
            prune(keep=key)
        try:
            yield folder
        except ToypipeError:
            if folder.writes and not (path / "state.pt").exists():  # refused: nothing to resume
                with suppress(OSError):
                    delete(path)
            raise


def kept(
    events: Events, run: TrainingState, folder: RunFolder, params: TrainParams, images: int
) -> Events:
    """Pass on the events of `train`; save its state regularly, at its end and on a signal.

    What can be seen of it is written too.

    Raises ToypipeError if the training has diverged, without saving such a state, and Interrupted
    after a signal, with the state saved.
    """
    live = Live(folder.write, params.epochs)
    live.note_epochs(run.epochs)
    beat = distributed.Beat()
    with interrupts.held():
        for event in events:
            yield event
            if folder.writes:
                live.note_step(event) if isinstance(event, Step) else live.note_epochs(run.epochs)
            due = isinstance(event, Step) and folder.save_due()
            # All processes save after the same step.
            end = isinstance(event, Epoch)
            save, signal = beat.all_reduce_max(due, interrupts.received or 0, now=end)
            if isinstance(event, Step):
                if save:
                    require_finite(run, params, images)
                    folder.save(run)
            else:
                accuracy = event.validation_accuracy
                tail = "" if accuracy is None else f", validation accuracy {accuracy:.4f}"
                folder.log(f"epoch {event.epoch:g}: train loss {event.train_loss:.4f}{tail}")
            if signal:
                where = folder.save(run)
                folder.log(f"stopped after {_place(run)}")
                message = f"stopped after {_place(run)}; the same command resumes {where}"
                raise Interrupted(signal, message)
        if distributed.broadcast(not folder.has_finished()):
            folder.save(run, finished=True)
    if distributed.broadcast(folder.has_finished()):  # else only its outputs are left of it
        interrupts.raise_received("the training is finished; the same command delivers it")


def _place(run: TrainingState) -> str:
    steps = f" and {run.steps} of {len(run.losses)} steps" if run.steps else ""
    return f"epoch {len(run.epochs)}{steps}"
