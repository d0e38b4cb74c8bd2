"""A project to spoil: a copy whose processes, results and litter are known."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from conftest import Project
from faults.tally import GONE_AFTER

LIMIT = 120.0  # seconds for any command; on a machine that does much else too


@dataclass(frozen=True)
class Truth:
    """The results of an undisturbed run."""

    files: Mapping[str, bytes]
    """Every file below data/, by name."""
    entries: Mapping[str, Any]
    """What dvc.lock says of each stage."""
    git: str
    """What git status says."""


class Subject(Project):
    """A copy that may be spoilt, with all that its commands have printed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.printed = ""

    def copy(self, name: str) -> "Subject":
        """Copy everything, also what is kept of trainings."""
        copy = Subject(self.path.with_name(name))
        shutil.copytree(self.path, copy.path, symlinks=True)
        return copy

    def truth(self) -> Truth:
        """Return the present results."""
        return Truth(self.files(), self.entries(), self.run("git", "status", "--porcelain"))

    def entries(self) -> dict[str, Any]:
        """Return what dvc.lock says of each stage."""
        lock = YAML(typ="safe", pure=True).load(self.path / "dvc.lock")
        return dict(lock["stages"])

    @contextlib.contextmanager
    def started(self, *command: str, **environment: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Start a command in a process group of its own; note what it prints."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                yield process
                process.wait(LIMIT)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                output.seek(0)
                self.printed += output.read().decode(errors="replace")

    def end(self, *command: str, **environment: str) -> int:
        """Run a command to its end; return its exit code."""
        with self.started(*command, **environment) as process:
            pass
        return process.returncode

    def processes(self) -> list[psutil.Process]:
        """Return every process that stands in this project."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def stage(self, name: str) -> psutil.Process | None:
        """Return the process of a stage, if there is one."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[1:] == ["-m", "stages", name]:
                    return process
        return None

    def await_stage(self, name: str, process: subprocess.Popen[bytes]) -> psutil.Process | None:
        """Wait until a command runs a stage; None if the command ends before."""
        found = await_(lambda: self.stage(name) or process.poll() is not None)
        return found if isinstance(found, psutil.Process) else None

    def orphans(self) -> int:
        """Count the processes that are there after some seconds, and end them."""
        await_(lambda: not self.processes(), GONE_AFTER)
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return len(left)

    def litter(self) -> list[str]:
        """Return the temporary files that were left."""
        return [
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if re.fullmatch(r"\..+\.\d+|.*\.part", path.name) and ".dvc" not in path.parts
        ]


def await_(condition: Callable[[], Any], limit: float = LIMIT) -> Any:
    """Wait until a condition holds; return its value, or a false one at the limit."""
    end = time.monotonic() + limit
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def catches(process: psutil.Process | subprocess.Popen[bytes], number: int) -> bool:
    """Tell whether a process has a handler of its own for a signal; false where none can tell."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
        return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)
    return False


def await_catching(process: psutil.Process | subprocess.Popen[bytes]) -> None:
    """Wait until a stage is ready for SIGTERM, or has ended."""
    await_(lambda: catches(process, signal.SIGTERM) or not psutil.pid_exists(process.pid))
