"""Faults on purpose, on small data: what they may cost is time, and nothing else.

    python tests/faults.py [--seed N] [--only KIND]... [--share PART]

Injects every kind of fault at random moments into copies of a small project, lets each go on
undisturbed, compares everything with a project that was never disturbed, and prints a Markdown
table. Ends with 1 if anything differed. Takes some twenty minutes on two cores.

Every copy starts where a whole set of parameters, A, is recorded and committed, and params.yaml
asks for another, B, that changes the result of every stage: so an output that is left over, or
half of each, shows.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import psutil
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from PIL import Image, ImageOps
from ruamel.yaml import YAML
from typer.testing import CliRunner

from conftest import Project, clean_environment, make_project
from stages.cli import app
from synthetic import PARAMS

STAGES = ("check", "prepare", "train", "evaluate")
OUTPUTS = {
    "check": ["data/params.ok"],
    "prepare": ["data/prepared/train.pt", "data/prepared/test.pt"],
    "train": ["data/model/checkpoint.pt", "data/reports/loss.csv", "data/reports/train.json"],
    "evaluate": [
        *(f"data/reports/{n}" for n in ("test.json", "confusion.csv", "per_class.csv")),
        *(f"data/reports/images/{n}" for n in ("confusion.png", "mistakes.png")),
    ],
}
KEPT = ["runs/*/run.json", "runs/*/state.pt"]
MADE = list(itertools.chain(*OUTPUTS.values()))
GONE_AFTER = 5.0  # seconds in which a stage must have ended that nobody waits for
LIMIT = 120.0  # seconds for any command; on a machine that does much else too


# what is counted ------------------------------------------------------------------------------


@dataclass
class Tally:
    """What some faults have done. But for `count`, all should be 0."""

    count: int = 0
    """Faults."""
    records: int = 0
    """Entries of dvc.lock that are none of an undisturbed run."""
    outputs: int = 0
    """Files that differ from an undisturbed run's when the next run has ended, or exit codes."""
    tracebacks: int = 0
    """Tracebacks in what any command printed."""
    orphans: int = 0
    """Processes that were still there seconds after the fault."""
    litter: int = 0
    """Temporary files that the next run has left."""
    notes: list[str] = field(default_factory=list)
    """What was wrong, and what could not be tried."""

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not any((self.records, self.outputs, self.tracebacks, self.orphans, self.litter))

    def add(self, other: "Tally") -> "Tally":
        """Add another's figures to one's own."""
        for name in (f.name for f in fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


# a project to spoil ---------------------------------------------------------------------------


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
        shutil.copytree(self.path, copy.path)
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


class Arena:
    """A project before each of its stages, its right results, and the time of each stage."""

    def __init__(self, root: Path) -> None:
        """Run everything once, undisturbed."""
        self.root, self._numbers, self._lock = root, itertools.count(), threading.Lock()
        make_project(root / "first", each=12, epochs=2)
        first = Subject(root / "first")
        # States are saved often, so that a short run has many to go on from.
        text = "SOONEST, LATEST = 1.0, 55.0"
        first.edit("toypipe/pipeline/resume.py", text, "SOONEST, LATEST = 0.2, 0.2")
        first.run("dvc", "repro")
        first.commit("Parameters A")
        self.recorded = first.truth()
        first.forget()
        for old, new in FROM_A_TO_B:
            first.edit("params.yaml", old, new)
        self.before, self.seconds = {}, {}
        for stage in STAGES:
            self.before[stage] = first.copy(f"before-{stage}")
            self.seconds[stage] = self._time(stage)
            first.run("dvc", "repro", stage)
        self.truth = first.truth()
        self.finished = first
        self.paused = self._pause()

    def _time(self, stage: str) -> float:
        """Return how long a stage takes by itself, in seconds."""
        subject = self.copy(stage)
        start = time.monotonic()
        subject.run(*direct(stage))
        seconds = time.monotonic() - start
        shutil.rmtree(subject.path)
        return seconds

    def _pause(self) -> Subject:
        """Return a project whose training was stopped half-way."""
        subject = self.copy("train")
        with subject.started(*direct("train")) as process:
            await_(lambda: len(list(subject.path.glob(".toypipe/runs/*/state.pt"))) == 1)
            process.terminate()
        assert process.returncode == 143, subject.printed
        subject.printed = ""
        return subject

    def copy(self, before: str) -> Subject:
        """Return a copy of one's own, in which this stage is the next to run."""
        return self.copy_of(self.before[before])

    def copy_of(self, subject: Subject) -> Subject:
        """Return a copy of one's own."""
        with self._lock:
            number = next(self._numbers)
        return subject.copy(f"copy-{number}")

    def truth_of(self, subject: Subject, *options: str) -> Truth:
        """Return what a project comes to undisturbed, by `dvc repro` with some options."""
        copy = self.copy_of(subject)
        copy.run("dvc", "repro", *options)
        truth = copy.truth()
        shutil.rmtree(copy.path)
        return truth


FROM_A_TO_B = (
    ("size: 16 ", "size: 24 "),
    ("epochs: 2 ", "epochs: 40 "),
    ("lr: 0.01\n", "lr: 0.02\n"),
    ("views: 1 ", "views: 2 "),
)


def direct(stage: str) -> list[str]:
    """Return the command that runs a stage without DVC."""
    return ["python", "-m", "stages", stage]


def wrong_entries(subject: Subject, *truths: Truth) -> list[str]:
    """Name the stages whose entry in dvc.lock differs from that of every undisturbed run."""
    try:
        entries = subject.entries()
    except (OSError, KeyError, TypeError, ValueError) as error:
        return [f"dvc.lock: {error}"]
    return [
        f"the entry of {name} in dvc.lock"
        for name, entry in entries.items()
        if all(entry != truth.entries.get(name) for truth in truths)
    ]


def differing(files: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> list[str]:
    """Name the files that are not as they should be."""
    names = sorted(files.keys() | wanted.keys())
    return [name for name in names if files.get(name) != wanted.get(name)]


def judge(
    arena: Arena,
    subject: Subject,
    what: str,
    *,
    stage: str = "",
    truth: Truth | None = None,
    known: Sequence[Truth] = (),
) -> Tally:
    """After a fault: let the next run go on undisturbed, and compare all with the truth.

    Args:
        arena: Where the subject is from.
        subject: After its fault.
        what: The fault, in words.
        stage: To run this directly, instead of all under DVC.
        truth: The right results, if not those of parameters B.
        known: What else an undisturbed run may have recorded before.
    """
    truth = truth or arena.truth
    tally = Tally(1, orphans=subject.orphans())
    wrong = wrong_entries(subject, arena.recorded, arena.truth, truth, *known)
    tally.records = len(wrong)
    if stage:
        wanted = dict(subject.files())
        wanted |= {name: truth.files[name] for name in OUTPUTS[stage]}
        wanted = {name: content for name, content in wanted.items() if not is_temporary(name)}
        code = subject.end(*direct(stage))
    else:
        wanted = dict(truth.files)
        code = subject.end("dvc", "repro")
    bad = [f"exit code {code}"] * (code != 0) + differing(subject.files(), wanted)
    if not stage:
        found = wrong_entries(subject, truth)
        tally.records += len(found)
        wrong += found
        for command, expected in (
            (("dvc", "status"), "Data and pipelines are up to date.\n"),
            (("git", "status", "--porcelain"), truth.git),
        ):
            status = subprocess.run(
                command, cwd=subject.path, capture_output=True, text=True, check=False
            )
            if status.stdout != expected:
                bad.append(f"{' '.join(command)}: {status.stdout}{status.stderr}")
    litter = subject.litter()
    tally.orphans += subject.orphans()
    tally.outputs, tally.litter = len(bad), len(litter)
    tally.tracebacks = subject.printed.count("Traceback")
    if tally.good:
        shutil.rmtree(subject.path)
    else:
        place = "; ".join([*wrong, *bad, *litter])
        tally.notes.append(f"{what}: {place}\n{subject.printed[-3000:]}")
    return tally


def is_temporary(name: str) -> bool:
    """Tell whether a file has the name of one that is being written."""
    return re.fullmatch(r"\..+\.\d+", Path(name).name) is not None


def wait_a_part(arena: Arena, random: Random, stage: str, process: Any) -> None:
    """Wait for a random part of the time that a stage takes, or until it has ended."""
    moment = random.random() * arena.seconds[stage]
    await_(lambda: not psutil.pid_exists(process.pid), moment)


# kills ----------------------------------------------------------------------------------------


def kill(arena: Arena, random: Random, stage: str, *, under_dvc: bool, group: bool) -> Tally:
    """Kill a stage, or all with it, at a random moment; then run it, or everything, again."""
    for _ in range(10):
        subject = arena.copy(stage)
        command = ["dvc", "repro"] if under_dvc else direct(stage)
        with subject.started(*command) as process:
            victim = subject.await_stage(stage, process)
            start = time.monotonic()
            if victim is not None:
                wait_a_part(arena, random, stage, victim)
                hit = victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE
                if group:
                    os.killpg(process.pid, signal.SIGKILL)
                elif hit:
                    victim.kill()
            else:
                hit = False
            moment = time.monotonic() - start
        if hit:
            break
        shutil.rmtree(subject.path)
    else:
        raise AssertionError(f"{stage} always ended before it was killed")
    again = stage if not under_dvc and random.random() < 0.75 else ""
    how = f"{'all of ' if group else ''}{stage}{' under DVC' if under_dvc else ''}"
    return judge(arena, subject, f"kill {how} after {moment:.2f} s", stage=again)


KILLED_AT_RENAME = """
import os, signal, sys
from pathlib import Path
replace = Path.replace
def killed(self, target):
    if target.match(pattern):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = killed
pattern, stage = sys.argv[1:]
from stages.cli import app
app([stage])
"""


def kill_at_rename(arena: Arena, random: Random, stage: str, pattern: str) -> Tally:
    """Kill a stage right before a file that it has written takes its name."""
    subject = arena.copy(stage)
    code = subject.end("python", "-c", KILLED_AT_RENAME, pattern, stage)
    again = stage if random.random() < 0.5 else ""
    tally = judge(arena, subject, f"kill {stage} before the rename to {pattern}", stage=again)
    if code != -signal.SIGKILL:
        tally.outputs += 1
        tally.notes.append(f"{stage} was not killed at {pattern}, but ended with {code}")
    return tally


# deaths of DVC --------------------------------------------------------------------------------


def dvc_dies(arena: Arena, random: Random, stage: str, number: signal.Signals) -> Tally:
    """End DVC alone while it runs a stage; the stage must follow it within seconds."""
    subject = arena.copy(stage)
    with subject.started("dvc", "repro") as process:
        victim = subject.await_stage(stage, process)
        assert victim is not None
        start = time.monotonic()
        wait_a_part(arena, random, stage, victim)
        moment = time.monotonic() - start
        process.send_signal(number)
    mend_lock_of_dvc(subject)
    return judge(arena, subject, f"{number.name} to DVC in {stage} after {moment:.2f} s")


def mend_lock_of_dvc(subject: Subject) -> None:
    """Do what the README says of DVC's own lock: killed while it writes it, DVC refuses to run."""
    lock = subject.path / ".dvc/tmp/rwlock"
    if lock.exists():
        try:
            json.loads(lock.read_bytes())
        except ValueError:
            lock.unlink()


# interruptions --------------------------------------------------------------------------------


def interrupt(
    arena: Arena, random: Random, stage: str, number: signal.Signals, *, twice: bool = False
) -> Tally:
    """Ask a stage to end, at a random moment, once or twice; it says so by its exit code."""
    for _ in range(10):
        subject = arena.copy(stage)
        with subject.started(*direct(stage)) as process:
            await_catching(process)
            start = time.monotonic()
            wait_a_part(arena, random, stage, process)
            moment = time.monotonic() - start
            hit = process.poll() is None
            process.send_signal(number)
            if twice:
                time.sleep(random.random() / 20)
                process.send_signal(number)
        if hit and process.returncode != 0:
            break
        shutil.rmtree(subject.path)
    else:
        raise AssertionError(f"{stage} always ended before it was asked to")
    again = stage if random.random() < 0.5 else ""
    what = f"{'twice ' * twice}{number.name} to {stage} after {moment:.2f} s"
    tally = judge(arena, subject, what, stage=again)
    if process.returncode != 128 + number:
        tally.outputs += 1
        tally.notes.append(f"{what}: exit code {process.returncode}\n{subject.printed[-2000:]}")
    return tally


def interrupt_waiting(arena: Arena, _: Random, number: signal.Signals) -> Tally:
    """Ask a training to end that waits for another of the same; the other is not disturbed."""
    subject = arena.copy("train")
    with subject.started(*direct("train")) as first:
        await_(lambda: list(subject.path.glob(".toypipe/runs/*/run.json")))
        busy = subject.end(*direct("train"))
        waits = subject.path.with_name(f"{subject.path.name}.txt")
        with waits.open("wb") as file:
            second = subprocess.Popen(
                direct("train"),
                cwd=subject.path,
                env={**os.environ, "DVC_STAGE": "train"},
                stdout=file,
                stderr=file,
            )
            await_(lambda: "waiting" in waits.read_text() or second.poll() is not None)
            second.send_signal(number)
            second.wait(LIMIT)
        subject.printed += waits.read_text()
    codes = (first.returncode, busy, second.returncode)
    tally = judge(arena, subject, f"{number.name} to a training that waits")
    if codes not in {(0, 75, 128 + number), (0, 0, 0), (0, 75, 0)}:
        tally.outputs += 1
        tally.notes.append(f"{number.name} to a training that waits: exit codes {codes}")
    return tally


# edits in mid-run -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """A change to a file that a stage uses."""

    stage: str
    """In which it happens."""
    file: str
    change: Callable[[Path], None]
    harmless: bool = False
    """It changes no result, so the truth is that of B but for this file's md5."""
    runs: bool = True
    """Something can be run with it."""

    @property
    def name(self) -> str:
        """Return what it is, in words."""
        return f"{getattr(self.change, '__name__', 'edit')} {self.file} in {self.stage}"


def comment(path: Path) -> None:
    """Add a line that does nothing."""
    with path.open("a") as file:
        file.write("\n# edited\n")


def remove(path: Path) -> None:
    """Remove it."""
    path.unlink()


def spoil(path: Path) -> None:
    """Make parameters invalid."""
    path.write_text(path.read_text().replace("lr: 0.02", "lr: fast"))


def replace(old: str, new: str) -> Callable[[Path], None]:
    """Replace a text."""

    def change(path: Path) -> None:
        text = path.read_text()
        assert text.count(old) == 1, (path, old)
        path.write_text(text.replace(old, new))

    change.__name__ = f"{old.strip()} -> {new.strip()}:"
    return change


def invert(path: Path) -> None:
    """Invert the images of a split, or a picture."""
    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        for name in ("images", "weights"):
            if isinstance(value := content.get(name), torch.Tensor):
                content[name] = 255 - value
        content.get("weights", {}).update(
            {name: -value for name, value in content.get("weights", {}).items()}
        )
        buffer = BytesIO()  # by a path, torch would write the file's name into it
        torch.save(content, buffer)
        path.write_bytes(buffer.getvalue())
        return
    with Image.open(path) as picture:
        inverted = ImageOps.invert(picture)
    inverted.save(path)


PARAMS_EDITS = {
    "prepare": replace("size: 24 ", "size: 32 "),
    "train": replace("lr: 0.02\n", "lr: 0.03\n"),
    "evaluate": replace("views: 2 ", "views: 6 "),
}


def edits(arena: Arena) -> list[Edit]:
    """Return every edit there is to try."""
    root = arena.before["check"].path
    pipeline = YAML(typ="safe", pure=True).load(root / "dvc.yaml")
    modules = [
        next(path.relative_to(root).as_posix() for path in sorted(below) if path.read_bytes())
        for name in pipeline["stages"]["train"]["deps"]
        if name.startswith(("stages", "toypipe"))
        and (below := [root / name] if name.endswith(".py") else [*(root / name).glob("*.py")])
    ]
    found = [
        Edit(stage, "params.yaml", change)
        for stage in ("prepare", "train", "evaluate")
        for change in PARAMS_EDITS.values()
    ]
    found += [Edit("train", name, comment, harmless=True) for name in modules]
    found += [
        Edit("prepare", "toypipe/data/pictures.py", comment, harmless=True),
        Edit("prepare", "stages/prepare.py", comment, harmless=True),
        Edit("evaluate", "toypipe/evaluation/metrics.py", comment, harmless=True),
        Edit("evaluate", "toypipe/networks/build.py", comment, harmless=True),
        Edit("prepare", "data/mine/train/cat/3.png", invert),
        Edit("train", "data/prepared/train.pt", invert),
        Edit("evaluate", "data/model/checkpoint.pt", invert),
        Edit("evaluate", "data/prepared/test.pt", invert),
        Edit("train", "params.yaml", spoil, runs=False),
        Edit("prepare", "params.yaml", spoil, runs=False),
        Edit("train", "params.yaml", remove, runs=False),
        Edit("train", "data/prepared/train.pt", remove),
        Edit("prepare", "data/mine/test/dog/0.png", remove),
        Edit("train", "toypipe/training/losses.py", remove, runs=False),
    ]
    return found


def edit_in_mid_run(arena: Arena, random: Random, edit: Edit) -> Tally:
    """Change a file while a stage runs; then go on with it as it is now, and with it put back."""
    changed = arena.copy(edit.stage)
    edit.change(changed.path / edit.file)
    truth, known = _truth_of(arena, edit, changed)
    content = (changed.path / edit.file).read_bytes() if edit.change is not remove else None
    shutil.rmtree(changed.path)

    tried = (_edit_once(arena, random, edit, content) for _ in range(10))
    subject, before, results, code, late = next(filter(None, tried))
    path = subject.path / edit.file

    what = f"{edit.name} (DVC ended with {code})"
    tally = Tally(tracebacks=subject.printed.count("Traceback"), orphans=subject.orphans())
    wrong = wrong_entries(subject, *known)
    if code != 0 and subject.entries()[edit.stage] == arena.recorded.entries[edit.stage]:
        # The stage has published nothing: what is there was there before, if DVC has left it.
        files = subject.files()
        wrong += [
            name for name in OUTPUTS[edit.stage] if files.get(name) not in (None, results.get(name))
        ]
    tally.records = len(wrong)
    tally.notes += [f"{what}: {', '.join(wrong)}\n{subject.printed[-3000:]}"] if wrong else []
    subject.printed = ""

    if truth is not None:
        copy = arena.copy_of(subject)
        tally.add(judge(arena, copy, f"{what}, as it is", truth=truth, known=known))
    path.write_bytes(before)
    if late and code != 0:
        subject.end("dvc", "repro")
        if "delivering it" not in subject.printed:
            tally.outputs += 1
            tally.notes.append(f"{what}: put back, it was not delivered\n{subject.printed}")
    tally.add(judge(arena, subject, f"{what}, put back", known=known))
    tally.count = 1
    return tally


def _edit_once(
    arena: Arena, random: Random, edit: Edit, content: bytes | None
) -> tuple[Subject, bytes, Mapping[str, bytes], int, bool] | None:
    """Change a file while a stage runs; None if the stage had ended by then.

    Returns:
        The project, the file as it was, all results as they were, the exit code of DVC, and
        whether the edit came so late that the training was finished, and kept.
    """
    subject = arena.copy(edit.stage)
    path = subject.path / edit.file
    before, results = path.read_bytes(), subject.files()
    with subject.started("dvc", "repro") as process:
        victim = subject.await_stage(edit.stage, process)
        assert victim is not None
        late = edit.stage == "train" and (edit.change is remove or random.random() < 0.5)
        if late:
            await_(lambda: list(subject.path.glob(".toypipe/runs/*/state.pt")) or process.poll())
        else:
            await_catching(victim)
            time.sleep(random.random() * 0.7 * arena.seconds[edit.stage])
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        hit = victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE
    if hit:
        return subject, before, results, process.returncode, late
    shutil.rmtree(subject.path)
    return None


def _truth_of(arena: Arena, edit: Edit, changed: Subject) -> tuple[Truth | None, list[Truth]]:
    """Return what an edited project comes to, if anything, and all that may be recorded."""
    known = [arena.recorded, arena.truth]
    if edit.harmless or edit.runs:
        truth = arena.truth_of(changed)
        assert not edit.harmless or truth.files == arena.truth.files
        if edit.file in MADE and edit.change is not remove:
            # The whole pipeline makes this file again; the stage alone takes it as it is.
            known.append(arena.truth_of(changed, "--single-item", edit.stage))
    else:
        return None, known
    return truth, [*known, truth]


# writes that fail -----------------------------------------------------------------------------

LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execvp("python", ["python", "-m", "stages", sys.argv[2]])
"""


def limit_files(arena: Arena, random: Random, stage: str) -> Tally:
    """Run a stage that may write no file larger than a random part of one that it writes."""
    sizes = [len(arena.truth.files[name]) for name in OUTPUTS[stage]]
    if stage == "train":
        kept = arena.paused.path.glob(".toypipe/runs/*/*.*")
        sizes += [size for path in kept if (size := path.stat().st_size)]
    size = random.randrange(random.choice(sizes))
    subject = arena.copy(stage)
    before = subject.files()
    result = subprocess.run(  # into pipes: a file would be as limited as any other
        [sys.executable, "-c", LIMITED, str(size), stage],
        cwd=subject.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    subject.printed += result.stdout + result.stderr
    code = result.returncode
    what = f"{stage} within {size} bytes"
    return _judge_failed_write(arena, subject, stage=stage, before=before, code=code, what=what)


def _judge_failed_write(
    arena: Arena,
    subject: Subject,
    *,
    stage: str,
    before: Mapping[str, bytes],
    code: int,
    what: str,
) -> Tally:
    """Look for half-written files and litter, then judge as after any fault."""
    wanted = {**before, **(arena.truth.files if code == 0 else {})}
    now = subject.files()
    bad = [name for name in now.keys() | before.keys() if now.get(name) != wanted.get(name)]
    bad = bad if stage != "evaluate" or code else []
    bad = [name for name in bad if name in OUTPUTS[stage] or is_temporary(name)]
    litter = subject.litter()
    found = Tally(outputs=len(bad) + (code not in {0, 2}), litter=len(litter))
    if not found.good:
        place = f"{what}, exit code {code}: {', '.join([*bad, *litter])}"
        found.notes.append(f"{place}\n{subject.printed[-2000:]}")
    return found.add(judge(arena, subject, what))


def fill_disk(arena: Arena, random: Random, stage: str, folder: str) -> Tally:
    """Run a stage one of whose folders lies on a disk that is about to be full."""
    subject = arena.copy(stage)
    place = subject.path / folder
    place.mkdir(parents=True, exist_ok=True)
    aside = subject.path.with_name(f"{subject.path.name}-{stage}")
    shutil.copytree(place, aside)
    largest = 2_000_000 if stage == "train" else 80_000
    size = 4096 * random.randrange(1, largest // 4096)
    options = f"size={size + sum(f.stat().st_size + 4096 for f in aside.rglob('*'))}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "faults", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        shutil.rmtree(subject.path)
        shutil.rmtree(aside)
        return Tally(notes=["skipped: this user may mount no disk that is full"])
    try:
        shutil.copytree(aside, place, dirs_exist_ok=True)
        before = subject.files()
        code = subject.end(*direct(stage))
        shutil.rmtree(aside)
        shutil.copytree(place, aside)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    shutil.copytree(aside, place, dirs_exist_ok=True)
    shutil.rmtree(aside)
    what = f"{stage} with {size} bytes left for {folder}"
    return _judge_failed_write(arena, subject, stage=stage, before=before, code=code, what=what)


# bad files ------------------------------------------------------------------------------------


class _Code:
    """What leaves a mark when it is unpickled by a reader that trusts it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def saved(content: Any) -> bytes:
    """Return what torch.save writes."""
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_values(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes, Random], bytes]:
    """Return what changes the contents of a file of torch."""

    def changed(content: bytes, _: Random) -> bytes:
        values = torch.load(BytesIO(content), weights_only=True)
        made = change(values)
        return saved(values if made is None else made)

    return changed


def flip(content: bytes, random: Random, start: float = 0.0) -> bytes:
    """Flip one bit, in the part after `start`."""
    changed = bytearray(content)
    changed[random.randrange(int(start * len(content)), len(content))] ^= 1 << random.randrange(8)
    return bytes(changed)


def foreign_zip() -> bytes:
    """Return an archive of something else."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("letter.txt", "Dear reader")
    return buffer.getvalue()


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    match values:
        case torch.Tensor():
            yield values
        case dict():
            for value in values.values():
                yield from _tensors(value)


Corruption = Callable[[bytes, Random], bytes | None]
"""From the bytes of a file to bad ones; None for a folder in its place."""

ANY_FILE: dict[str, Corruption] = {
    "empty": lambda _, __: b"",
    "first byte": lambda content, _: content[:1],
    "truncated": lambda content, random: content[: random.randrange(1, len(content))],
    "last byte gone": lambda content, _: content[:-1],
    "one bit": flip,
    "one bit at the end": lambda content, random: flip(content, random, 0.97),
    "folder": lambda _, __: None,
    "zeros": lambda content, _: bytes(len(content)),
    "another zip": lambda _, __: foreign_zip(),
}
TORCH_FILE: dict[str, Corruption] = {
    "code": lambda _, __: saved({"images": _Code(), "model": _Code(), "weights": _Code()}),
    "list": lambda _, __: saved([1, 2]),
    "no keys": lambda _, __: saved({}),
    "numbers as keys": lambda _, __: saved({1: torch.zeros(2), 2: None}),
}
SPLIT: dict[str, Corruption] = {
    "dtype": with_values(lambda v: v.update(images=v["images"].float())),
    "labels too large": with_values(lambda v: v.update(labels=v["labels"] + 2)),
    "labels negative": with_values(lambda v: v.update(labels=v["labels"] - 1)),
    "labels too few": with_values(lambda v: v.update(labels=v["labels"][1:])),
    "no classes": with_values(lambda v: v.update(classes=[])),
    "one channel": with_values(lambda v: v.update(images=v["images"][:, :1])),
}
CHECKPOINT: dict[str, Corruption] = {
    "version": with_values(lambda v: v.update(format=2)),
    "version a tensor": with_values(lambda v: v.update(format=torch.zeros(2))),
    "no weights": with_values(lambda v: v.update(weights={})),
    "weights of other names": with_values(lambda v: v.update(weights={"x": torch.zeros(1)})),
    "weights a number": with_values(lambda v: v.update(weights=1)),
    "weights not numbers": with_values(
        lambda v: [t.fill_(float("nan")) for t in _tensors(v["weights"])] and None
    ),
    "size": with_values(lambda v: v.update(size=0)),
    "classes": with_values(lambda v: v.update(classes=["one"])),
}
STATE: dict[str, Corruption] = {
    "other shapes": with_values(lambda v: v.update(model={"x": torch.zeros(1)})),
    "no losses": with_values(lambda v: v.update(losses=None)),
    "losses of another run": with_values(lambda v: v.update(losses=torch.zeros(1))),
    "steps a word": with_values(lambda v: v.update(steps="many")),
    "epochs of another form": with_values(lambda v: v.update(epochs=[1, 2, 3])),
    "generator": with_values(lambda v: v.update(generators={"cpu": torch.zeros(3)})),
}
RECORD: dict[str, Corruption] = {
    "a list": lambda _, __: b"[1, 2]\n",
    "a word": lambda _, __: b'"finished"\n',
    "nothing": lambda _, __: b"null\n",
    "no object": lambda _, __: b"{}\n",
    "finished a word": lambda _, __: b'{"finished": "perhaps"}\n',
    "finished too early": lambda content, _: content.replace(b": false", b": true"),
    "values null": lambda _, __: b'{"values": null, "used": null}\n',
    "used a word": lambda _, __: b'{"used": "today"}\n',
    "used no number": lambda _, __: b'{"used": NaN}\n',
}


def put(path: Path, content: bytes | None) -> None:
    """Write a file, or a folder in its place for None."""
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


def bad_input(arena: Arena, random: Random, stage: str, file: str, corruption: str) -> Tally:
    """Give a stage a bad file: it refuses it in a paragraph, and touches nothing."""
    all_kinds = {**ANY_FILE, **TORCH_FILE, **(SPLIT if "prepared" in file else CHECKPOINT)}
    subject = arena.copy_of(arena.finished)
    subject.forget()
    good = (subject.path / file).read_bytes()
    put(subject.path / file, all_kinds[corruption](good, random))
    code = subject.end(*direct(stage))
    what = f"{file}: {corruption} (exit code {code})"
    tally = Tally(1, tracebacks=subject.printed.count("Traceback"), litter=len(subject.litter()))
    wanted = dict(arena.truth.files)
    if (subject.path / file).is_dir():
        (subject.path / file).rmdir()
    (subject.path / file).write_bytes(good)
    tally.outputs = len(differing(subject.files(), wanted)) + (subject.path / "pwned").exists()
    # A flipped bit may be one that means nothing, a date in the archive: then all is as it was.
    tally.outputs += code != 2 and not (code == 0 and corruption.startswith("one bit"))
    tally.outputs += code == 2 and not re.fullmatch(
        r"(?s).*^error: (?!.*\n\n).{20,600}", subject.printed, re.MULTILINE
    )
    if tally.good:
        shutil.rmtree(subject.path)
    else:
        tally.notes.append(f"{what}\n{subject.printed[-2000:]}")
    return tally


def bad_state(arena: Arena, random: Random, file: str, corruption: str) -> Tally:
    """Damage what is kept of a training that was stopped, or of one that has finished."""
    kinds = {**ANY_FILE, **TORCH_FILE, **STATE, **RECORD}
    finished = random.random() < 0.3
    subject = arena.copy_of(arena.before["evaluate"] if finished else arena.paused)
    (kept,) = subject.path.glob(f".toypipe/runs/*/{file}")
    put(kept, kinds[corruption](kept.read_bytes(), random))
    what = f"{'finished' if finished else 'stopped'} training's {file}: {corruption}"
    (subject.path / "data/model/checkpoint.pt").unlink(missing_ok=True)
    code = subject.end(*direct("train"))
    wanted = 0
    if kept.is_dir() and code == 2:  # nothing can be written where a folder lies: that is said
        wanted = 2
        subject.run("python", "-m", "stages", "runs", "--clear")
    tally = judge(arena, subject, what)
    if code != wanted:
        tally.outputs += 1
        tally.notes.append(f"{what}: exit code {code}\n{subject.printed[-2000:]}")
    if (arena.root / "pwned").exists() or (subject.path / "pwned").exists():
        tally.outputs += 1
        tally.notes.append(f"{what}: its code was run")
    return tally


# parameters -----------------------------------------------------------------------------------

ODD = [
    *("", "null", "~", "-", "[]", "{}", "nan", ".nan", ".inf", "-.inf", "1e999", "0x10", "1_000"),
    *("yes", "true", "'", '"', "&a 1", "*a", "!!python/object:os.system x", "!!binary x", "<<: 1"),
    *("1e-3", "99999999999999999999999999", "-1", "0", "2026-01-01", "[1, [2, [3]]]", "{a: 1}"),
    *("\u00e9\u4e2d\U0001f600", "\u202e", "\x00", "\x7f", "\ufeff", "!!timestamp x", "!!float x"),
    *("? a", "a: b: c", "|", ">", "%YAML 9.9", "---", "...", "\t", "!!set {a}", "!!int ''", "@"),
]


@st.composite
def parameter_files(draw: st.DrawFn) -> bytes:
    """Mutate the default recipe, by lines, by values and by bytes."""
    lines = PARAMS.read_text(encoding="utf-8").splitlines()
    for _ in range(draw(st.integers(0, 4))):
        i = draw(st.integers(0, len(lines) - 1))
        key, colon, _ = lines[i].partition(":")
        odd = draw(st.sampled_from(ODD) | st.text(max_size=12) | st.floats().map(str))
        match draw(st.integers(0, 7)):
            case 0:
                lines[i] = ""
            case 1:
                lines.insert(i, lines[i])
            case 2:
                lines.insert(i, f"{' ' * (len(key) - len(key.lstrip()))}{odd}: 1")
            case 3 | 4:
                lines[i] = f"{key}{colon} {odd}"
            case 5:
                lines[i] = lines[i][:-1] if draw(st.booleans()) else f" {lines[i]}"
            case 6:
                at = draw(st.integers(0, len(key)))
                lines[i] = f"{key[:at]}{odd[:2]}{key[at:]}{lines[i][len(key) :]}"
            case 7:
                j = draw(st.integers(0, len(lines) - 1))
                lines[i], lines[j] = lines[j], lines[i]
    content = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 3]))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def bad_parameters(count: int, seed: int) -> Tally:
    """Check as many parameter files: each is fine or refused, and never a traceback's cause."""
    tally = Tally()
    runner = CliRunner()

    def check(content: bytes) -> None:
        Path("params.yaml").write_bytes(content)
        result = runner.invoke(app, ["check"])
        tally.count += 1
        if result.exit_code not in {0, 2}:
            tally.tracebacks += 1
            tally.notes.append(f"{result.exception!r} for {content!r}")
        left = {str(path) for path in Path().rglob("*") if path.is_file()}
        if not left <= {"params.yaml", "dvc.yaml", "data/params.ok"}:
            tally.litter += 1
            tally.notes.append(f"{left} for {content!r}")

    checked = settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(hypothesis_seed(seed)(given(parameter_files())(check)))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        checked()
    return tally


# all of them ----------------------------------------------------------------------------------

Case = Callable[[Arena, Random], Tally]


def cases(arena: Arena) -> dict[str, list[Case]]:
    """Return everything that the long form tries, by its kind."""
    both, asked = (False, True), (signal.SIGINT, signal.SIGTERM)
    kills: list[Case] = [
        partial(kill, stage=stage, under_dvc=under_dvc, group=group)
        for stage, times in (("check", 4), ("prepare", 6), ("train", 10), ("evaluate", 5))
        for under_dvc, group in itertools.product(both, both)
        for _ in range(times)
    ]
    kills += [
        partial(kill_at_rename, stage=stage, pattern=pattern)
        for stage in STAGES
        for pattern in [*OUTPUTS[stage], *(KEPT if stage == "train" else [])]
    ]
    deaths: list[Case] = [
        partial(dvc_dies, stage=stage, number=number)
        for stage, times in (("prepare", 3), ("train", 6), ("evaluate", 2))
        for number in (signal.SIGKILL, signal.SIGTERM)
        for _ in range(times)
    ]
    interruptions: list[Case] = [
        partial(interrupt, stage=stage, number=number, twice=twice)
        for stage, times in (("prepare", 1), ("train", 3), ("evaluate", 1))
        for number, twice in itertools.product(asked, both)
        for _ in range(times)
    ]
    interruptions += [partial(interrupt_waiting, number=number) for number in asked]
    full: list[Case] = [
        partial(limit_files, stage=stage)
        for stage, times in (("check", 1), ("prepare", 4), ("train", 10), ("evaluate", 4))
        for _ in range(times)
    ]
    full += [
        partial(fill_disk, stage=stage, folder=folder)
        for stage, folder, times in (
            ("prepare", "data/prepared", 2),
            ("train", "data/model", 2),
            ("train", ".toypipe", 4),
            ("evaluate", "data/reports", 2),
        )
        for _ in range(times)
    ]
    torn = ["empty", "truncated", "one bit"]
    bad: list[Case] = [
        partial(bad_input, stage=stage, file=file, corruption=corruption)
        for stage, file, corruptions in (
            ("train", "data/prepared/train.pt", [*ANY_FILE, *TORCH_FILE, *SPLIT]),
            ("evaluate", "data/prepared/test.pt", [*torn, "code", *SPLIT]),
            ("evaluate", "data/model/checkpoint.pt", [*ANY_FILE, *TORCH_FILE, *CHECKPOINT]),
        )
        for corruption in corruptions
    ]
    bad += [
        partial(bad_state, file=file, corruption=corruption)
        for file, corruptions in (
            ("state.pt", [*ANY_FILE, *TORCH_FILE, *STATE]),
            ("run.json", [*ANY_FILE, *RECORD]),
        )
        for corruption in corruptions
    ]
    return {
        "kills of a stage": kills,
        "deaths of DVC": deaths,
        "interruptions": interruptions,
        "edits in mid-run": [partial(edit_in_mid_run, edit=edit) for edit in edits(arena)],
        "writes that fail": full,
        "bad files": bad,
    }


def attempt(arena: Arena, kind: str, number: int, case: Case, seed: int) -> Tally:
    """Try one; what keeps it from being tried is a failure too."""
    try:
        return case(arena, Random(f"{seed} {kind} {number}"))
    except Exception:  # noqa: BLE001 - the others are to go on
        return Tally(1, outputs=1, notes=[f"{kind} {number}: {traceback.format_exc()}"])


def row(kind: str, tally: Tally) -> str:
    """Return a row of the table."""
    figures = [getattr(tally, f.name) for f in fields(tally) if f.name != "notes"]
    return f"| {kind} | {' | '.join(map(str, figures))} |"


def main(seed: int, only: Sequence[str], share: float) -> int:
    """Try everything, or a share of it; print the table; return the exit code."""
    clean_environment()
    start = time.monotonic()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "dvc", "filelock"))
    print(f"seed {seed}; {platform.platform()}, {os.cpu_count()} cores")
    print(f"Python {platform.python_version()}, {versions}\n", flush=True)
    table: dict[str, Tally] = {}
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    if not only or "parameter files" in only:
        table["parameter files"] = bad_parameters(round(500 * share), seed)
    arena = Arena(root)
    chosen = {
        kind: list(enumerate(c)) for kind, c in cases(arena).items() if kind in (only or [kind])
    }
    with ThreadPoolExecutor(2) as pool:
        for kind, numbered in chosen.items():
            picked = Random(f"{seed} {kind}").sample(numbered, round(len(numbered) * share))
            tried = [pool.submit(attempt, arena, kind, n, case, seed) for n, case in picked]
            begun = time.monotonic()
            table[kind] = Tally()
            for done in tried:
                table[kind].add(done.result())
            took = f"{time.monotonic() - begun:.0f} s"
            print(f"{row(kind, table[kind])} {took}", file=sys.stderr, flush=True)
            for note in sorted(set(table[kind].notes)):
                print(note, file=sys.stderr, flush=True)
    print(
        "| kind | count | records that differ from the truth"
        " | outputs lost or mixed after the next run | tracebacks"
        f" | orphans after {GONE_AFTER:g} s | temporary files left |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for kind, tally in table.items():
        print(row(kind, tally))
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes")
    good = all(tally.good for tally in table.values())
    if good:
        shutil.rmtree(root)
    else:
        print(f"what was spoilt is in {root}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Inject faults, and count what they cost.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], metavar="KIND")
    parser.add_argument("--share", type=float, default=1.0, help="of every kind, at random")
    given_arguments = parser.parse_args()
    sys.exit(main(given_arguments.seed, given_arguments.only, given_arguments.share))
