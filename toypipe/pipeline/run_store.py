"""The folders of all trainings, in .toypipe/runs: their records, locks and sizes."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError

from toypipe.errors import ToypipeError
from toypipe.params.documents import Document

KEY = re.compile("[0-9a-f]{12}")  # the name of a training's folder
Amount = Annotated[float, Field(ge=0, le=1e10)]
LARGEST = 2**30  # bytes of all folders together; the one used longest ago is removed first


def runs_folder() -> Path:
    """Return the folder of all runs; in an experiment's workspace, the main checkout's."""
    return Path(os.environ.get("DVC_ROOT", "."), ".toypipe", "runs")


class Record(BaseModel):
    """run.json: what is known of a training besides its state."""

    values: dict[str, Any] = {}  # parameters, and the md5 of data and code
    machine: dict[str, str] = {}  # hardware and versions that decide the bits too
    experiment: str = ""  # the name that DVC gave it
    pid: int = 0  # the process that trains it, or was killed while it did; 0 for none
    started: float = 0.0  # when that process was, in seconds since 1970
    used: Amount = 0.0  # when, in seconds since 1970
    epoch: Amount = 0.0  # epochs completed in the saved state; fractional within an epoch
    finished: bool = False  # whether the saved state has no steps left
    checkpoint: str | None = None  # the md5 of the checkpoint that was written from it

    @property
    def params(self) -> dict[str, Any]:
        """The section of params.yaml."""
        params = self.values.get("params")
        return params if isinstance(params, dict) else {}


State = Literal["running", "finished", "stopped"]


class Listed(NamedTuple):
    """A training as `toypipe runs` lists it."""

    key: str
    record: Record
    state: State

    @property
    def path(self) -> Path:
        """Its folder."""
        return runs_folder() / self.key

    @property
    def bytes(self) -> int:
        """What its files take on the disk."""
        size = 0
        with suppress(OSError):  # it may be removed now
            for file in self.path.iterdir():
                with suppress(FileNotFoundError):  # a temporary file that has just been renamed
                    size += file.lstat().st_size
        return size


def read_record(folder: Path) -> Record:
    """Read run.json in the folder of a training; an empty record where it is missing or damaged."""
    path = folder / "run.json"
    try:
        status = path.stat()
        return _parsed(path, status.st_mtime_ns, status.st_ino)
    except (OSError, ToypipeError, ValidationError):
        return Record()


@lru_cache(2000)  # who watches hundreds of finished trainings reads each of them once
def _parsed(path: Path, *_: int) -> Record:
    return Record.model_validate_json(Document.read(path).text())


def list_runs() -> list[Listed]:
    """Return all trainings, the one used last first.

    This only reads: it takes no lock, for which a training would have to wait.
    """
    records = {path.name: read_record(path) for path in _folders(runs_folder())}
    runs = [Listed(key, record, _state(record)) for key, record in records.items()]
    return sorted(runs, key=lambda run: run.record.used, reverse=True)


def _state(record: Record) -> State:
    if record.finished:
        return "finished"
    return "running" if _is_alive(record) else "stopped"


def _is_alive(record: Record) -> bool:
    """Tell whether the process of a training is there; its number may have gone to another one."""
    with suppress(psutil.Error, ValueError, OverflowError):
        process = psutil.Process(record.pid)
        # The clock may have been set since; a number does not come round within a minute.
        same = abs(process.create_time() - record.started) < 60
        return record.pid > 0 and same and process.status() != psutil.STATUS_ZOMBIE
    return False


def _folders(root: Path) -> list[Path]:
    """Return the folders of trainings; links, files and other names are somebody else's."""
    try:
        entries = list(os.scandir(root))
    except OSError:
        return []
    return [
        Path(entry.path)
        for entry in entries
        if KEY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    ]


def find_record(root: Path, checkpoint: str) -> Record | None:
    """Return the record of the training that wrote a checkpoint, by its md5; None if unknown."""
    records = map(read_record, _folders(root / ".toypipe/runs"))
    made = (record for record in records if record.checkpoint == checkpoint)
    return max(made, key=lambda record: record.used, default=None)


def remove(key: str) -> bool:
    """Remove a training; return False if it is running."""
    path = runs_folder() / key
    with locked(path) as free:
        if free:
            delete(path)
        return free


def delete(path: Path) -> None:
    """Remove the folder of a training, whose lock this process has."""
    shutil.rmtree(path)
    # A waiting process locks the next file of that name.
    path.with_suffix(".lock").unlink(missing_ok=True)


def prune(keep: str) -> None:
    """Remove the trainings used longest ago until the total is within the limit."""
    total = 0
    for run in list_runs():
        total += run.bytes
        if total > LARGEST and run.key != keep:
            with suppress(OSError):  # what cannot be removed must not stop a training
                remove(run.key)


@contextmanager
def locked(path: Path, *, seconds: float = 0) -> Iterator[bool]:
    """Lock a training's folder, which is made if missing; yield False if another process has it.

    Waits for the lock, at most so many seconds; with -1, as long as it takes.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    with suppress(Timeout):
        lock.acquire(timeout=seconds, poll_interval=0.1)
    try:
        yield lock.is_locked
    finally:
        lock.release()  # which does nothing where another process has it
