"""Trainings under way and finished, each in a folder of its own, so that none is lost.

The folder's name is a hash of all that decides the result, so the next call that asks for the
same finds what there is of it: a state to go on from, or the finished files.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from toypipe.data.files import json_bytes, whole
from toypipe.errors import BusyError, ToypipeError

if TYPE_CHECKING:
    from toypipe.training.state import TrainingState

LARGEST = 2**30
"""Bytes that all folders together may hold; the one that was used longest ago goes first."""
SOONEST, LATEST = 1.0, 55.0
"""Seconds between two states: as many as keep the cost at half a percent, within these."""


def runs_folder() -> Path:
    """Return where the runs are: with the project, also in an experiment's temporary workspace."""
    return Path(os.environ.get("DVC_ROOT", "."), ".toypipe", "runs")


class Record(BaseModel):
    """What run.json says of a training."""

    values: dict[str, Any] = {}
    """What decides its result: parameters, and the md5 of data and code."""
    machine: dict[str, str] = {}
    """What else does."""
    pid: int = 0
    """Which process was at it last."""
    used: float = 0.0
    """When, in seconds since 1970."""
    epoch: float = 0.0
    """How far the saved state has come."""
    results: dict[str, str] | None = None
    """The md5 of each file that it has come to; None before its end."""


class RunFolder:
    """What there is of one training."""

    def __init__(self, path: Path) -> None:
        """Look into a folder, which need not exist."""
        self.path = path
        self._saved, self._cost = time.monotonic(), 0.025  # a guess, so that the first waits 5 s

    @property
    def record(self) -> Record:
        """What run.json says; an empty one where it says nothing, or nonsense."""
        try:
            return Record.model_validate_json((self.path / "run.json").read_bytes())
        except (OSError, ValidationError):
            return Record()

    def note(self, **changes: Any) -> None:
        """Change run.json."""
        record = self.record.model_copy(update=changes)
        with whole(self.path / "run.json") as file:
            file.write(json_bytes(record.model_dump()))

    def say(self, text: str) -> None:
        """Tell the user, and the log."""
        print(text, file=sys.stderr, flush=True)
        self.log(text)

    def log(self, text: str) -> None:
        """Add a line to the log; a full disk is no reason to stop."""
        with suppress(OSError), (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}  {text}\n")

    def save_due(self) -> bool:
        """Tell whether it is time for another state."""
        interval = min(LATEST, max(SOONEST, 200 * self._cost))
        return time.monotonic() - self._saved > interval

    def save(self, run: "TrainingState") -> None:
        """Write down where a run stands, also for after a power cut."""
        import torch  # not what lists runs

        start = time.monotonic()
        try:
            with whole(self.path / "state.pt") as file:
                torch.save(run.state_dict(), file)
                file.flush()
                os.fsync(file.fileno())
            self.note(epoch=len(run.epochs) + run.steps / max(len(run.losses), 1))
        except OSError as error:
            self.say(f"the state of this run could not be saved ({error.strerror}); it goes on")
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def restore(self, run: "TrainingState") -> bool:
        """Put a run where it was when it was saved last; False if there is nothing to go on from.

        Raises:
            ToypipeError: There is a state, but it is damaged.
        """
        import torch

        from toypipe.compute import distributed
        from toypipe.data.files import DAMAGED

        state = distributed.broadcast(self._state())
        if state is None:
            return False
        if isinstance(state, ToypipeError):
            raise state
        try:
            run.load_state_dict(state)
        except torch.OutOfMemoryError:
            raise  # the state is well, and needed again
        except DAMAGED:
            raise ToypipeError(f"{self.path} has the state of something else") from None
        return True

    def _state(self) -> dict[str, Any] | ToypipeError | None:
        """Return what was saved last, or what is wrong with it; None if there is nothing."""
        from toypipe.data.files import load_archive

        path = self.path / "state.pt"
        try:
            return load_archive(path, remedy="`toypipe train` makes it") if path.exists() else None
        except ToypipeError as error:
            return error

    def finish(self, results: Mapping[str, bytes]) -> None:
        """Keep the files that a run has come to; its state is needed no more."""
        for name, content in results.items():
            with whole(self.path / name) as file:
                file.write(content)
        self.note(results={name: _md5(content) for name, content in results.items()})
        (self.path / "state.pt").unlink(missing_ok=True)

    def results(self, names: Iterable[str]) -> dict[str, bytes] | None:
        """Return the files of a finished run; None if it is not, or they are not what they were.

        Args:
            names: Of all its files.
        """
        sums = self.record.results
        try:
            results = {name: (self.path / name).read_bytes() for name in names}
        except OSError:
            return None
        return results if sums == {name: _md5(each) for name, each in results.items()} else None


class Follower(RunFolder):
    """What the other processes of a training have, while the first one keeps its folder."""

    def note(self, **changes: Any) -> None:
        """Leave it to the first."""

    def log(self, text: str) -> None:
        """Leave it to the first."""

    def say(self, text: str) -> None:
        """Leave it to the first."""

    def save_due(self) -> bool:
        """Leave it to the first."""
        return False

    def save(self, run: "TrainingState") -> None:
        """Tell the first what it has to save."""
        run.state_dict()

    def finish(self, results: Mapping[str, bytes]) -> None:
        """Leave it to the first."""


@contextmanager
def claim(values: Mapping[str, Any], machine: Mapping[str, str]) -> Iterator[RunFolder]:
    """Have the folder of one training to oneself, and to the processes that take part in it.

    Args:
        values: What decides the result: parameters, and the md5 of data and code.
        machine: What else does.

    Raises:
        BusyError: Another process trains the same. Under DVC this waits instead: it is another
            experiment, whose result will do for both.
    """
    from toypipe.compute import distributed

    key = _md5(json.dumps([values, machine], sort_keys=True).encode())[:12]
    folder = RunFolder(runs_folder() / key)
    if distributed.rank() > 0:
        yield Follower(folder.path)
        return
    with ExitStack() as stack:
        # A second, for whoever lists or clears runs holds each for a moment.
        if not stack.enter_context(_locked(folder.path, seconds=1)):
            who = f"process {folder.record.pid} is training exactly this (run {key})"
            if "DVC_STAGE" not in os.environ:
                raise BusyError(f"{who}: wait for it, or stop it")
            print(f"{who}: waiting for its result", file=sys.stderr, flush=True)
            stack.enter_context(_locked(folder.path, seconds=-1))
        folder.note(values=values, machine=machine, pid=os.getpid(), used=time.time())
        prune(keep=key)
        yield folder


@dataclass(frozen=True)
class Listed:
    """A run as `toypipe runs` shows it."""

    key: str
    record: Record
    state: str
    """running, finished, or paused."""
    bytes: int


def list_runs() -> list[Listed]:
    """Return every run, the one used last first."""
    runs = [
        Listed(path.name, RunFolder(path).record, _state(path), _bytes(path))
        for path in runs_folder().glob("*/")
    ]
    return sorted(runs, key=lambda run: run.record.used, reverse=True)


def remove(key: str) -> bool:
    """Forget a run; False if it is running."""
    path = runs_folder() / key
    with _locked(path) as mine:
        if mine:
            shutil.rmtree(path)
            _lock_file(path).unlink()  # who waits for it takes the next one of that name
        return mine


def prune(keep: str) -> None:
    """Forget the runs that were used longest ago, until the others are within the limit."""
    total = 0
    for run in list_runs():
        total += run.bytes
        if total > LARGEST and run.key != keep:
            remove(run.key)


@contextmanager
def _locked(path: Path, *, seconds: float = 0) -> Iterator[bool]:
    """Have a run to oneself, if nobody else has; a dead process has nothing.

    Args:
        path: The folder of the run.
        seconds: How long to wait for it; -1 for as long as it takes.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(path))
    try:
        lock.acquire(timeout=seconds, poll_interval=0.1)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _lock_file(path: Path) -> Path:
    return path.with_suffix(".lock")


def _state(path: Path) -> str:
    with _locked(path) as free:
        if not free:
            return "running"
    return "finished" if RunFolder(path).record.results is not None else "paused"


def _bytes(path: Path) -> int:
    total = 0
    for file in path.iterdir():
        with suppress(FileNotFoundError):  # a temporary file that has just taken its name
            total += file.stat().st_size
    return total


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
