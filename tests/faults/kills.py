"""Kills of a stage, and deaths of the DVC that runs it."""

import itertools
import json
import os
import shutil
import signal
import time
from functools import partial
from random import Random

import psutil

from faults.arena import KEPT, OUTPUTS, STAGES, Arena, Case, direct
from faults.judge import judge, wait_a_part
from faults.project import Subject
from faults.tally import Tally


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


def kills(_: Arena) -> list[Case]:
    """Return kills of every stage, with and without DVC, and before every rename."""
    both = (False, True)
    cases: list[Case] = [
        partial(kill, stage=stage, under_dvc=under_dvc, group=group)
        for stage, times in (("check", 4), ("prepare", 6), ("train", 10), ("evaluate", 5))
        for under_dvc, group in itertools.product(both, both)
        for _ in range(times)
    ]
    cases += [
        partial(kill_at_rename, stage=stage, pattern=pattern)
        for stage in STAGES
        for pattern in [*OUTPUTS[stage], *(KEPT if stage == "train" else [])]
    ]
    return cases


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


def deaths(_: Arena) -> list[Case]:
    """Return deaths of DVC in every stage that takes time."""
    return [
        partial(dvc_dies, stage=stage, number=number)
        for stage, times in (("prepare", 3), ("train", 6), ("evaluate", 2))
        for number in (signal.SIGKILL, signal.SIGTERM)
        for _ in range(times)
    ]
