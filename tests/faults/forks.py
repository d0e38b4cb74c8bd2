"""Stages in forks of this process, which has imported what is slow: a fault costs about a second.

They stand in a folder without code, so their code is that of this project.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from faults.arena import OUTPUTS, STAGES, Arena
from faults.judge import differing
from faults.project import LIMIT, Subject
from faults.tally import Tally
from stages.cli import app
from toypipe.pipeline import resume

for name in STAGES:
    import_module(f"stages.{name}")


def bare(arena: Arena, stage: str) -> Subject:
    """Return a project without code, in which this stage is the next to run."""
    subject, original = arena.place(), arena.before[stage].path
    shutil.copytree(original / "data", subject.path / "data")
    for file in ("params.yaml", "dvc.yaml", "dvc.lock"):
        shutil.copy(original / file, subject.path)
    return subject


def start(subject: Subject, stage: str, before: Callable[[], object] = int) -> BaseProcess:
    """Start a stage in a process of its own, in which `before` is called first."""
    process = get_context("fork").Process(target=_run, args=(subject, stage, before))
    process.start()
    return process


def _run(subject: Subject, stage: str, before: Callable[[], object]) -> None:
    os.chdir(subject.path)
    with output(subject).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
    resume.SOONEST = resume.LATEST = 0.1
    for number in (signal.SIGINT, signal.SIGTERM):  # as stages/__main__.py does
        signal.signal(number, lambda received, _: os._exit(128 + received))
    before()
    try:
        app([stage], prog_name="toypipe")
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def end(subject: Subject, process: BaseProcess) -> int:
    """Wait for the end of a stage, note what it printed, and return its exit code."""
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
        subject.printed += "it hung\n"
    if output(subject).exists():
        subject.printed += output(subject).read_text(errors="replace")
        output(subject).unlink()
    return process.exitcode if process.exitcode is not None else 70


def output(subject: Subject) -> Path:
    """Return the file that a stage prints into."""
    return subject.path.with_suffix(".txt")


def settle(
    arena: Arena, subject: Subject, what: str, *, stage: str, code: int, allowed: Collection[int]
) -> Tally:
    """After a fault: each output is as before or right, and the stage ends well undisturbed."""
    before, truth = arena.before[stage].files(), arena.truth.files
    now, tally = subject.files(), Tally(1)
    bad = [n for n in OUTPUTS[stage] if now.get(n) not in (before.get(n), truth[n])]
    bad += [f"{n} is missing" for n in OUTPUTS[stage] if code == 0 and now.get(n) != truth[n]]
    bad += [f"exit code {code}"] * (code not in allowed)
    again = end(subject, start(subject, stage))
    wanted = {**before, **{n: truth[n] for n in OUTPUTS[stage]}}
    bad += [f"then exit code {again}"] * (again != 0) + differing(subject.files(), wanted)
    tally.outputs, tally.litter = len(bad), len(subject.litter())
    tally.tracebacks = subject.printed.count("Traceback")
    return tally.close(subject.path, f"{what}: {'; '.join(bad)}\n{subject.printed[-3000:]}")
