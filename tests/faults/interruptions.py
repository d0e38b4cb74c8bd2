"""Interruptions: Ctrl-C and SIGTERM, once and twice, also while a training waits."""

import itertools
import os
import shutil
import signal
import subprocess
import time
from functools import partial
from random import Random

from faults.arena import Arena, Case, direct
from faults.judge import judge, wait_a_part
from faults.project import LIMIT, await_, await_catching
from faults.tally import Tally


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


def interruptions(_: Arena) -> list[Case]:
    """Return interruptions of every stage that takes time."""
    asked = (signal.SIGINT, signal.SIGTERM)
    cases: list[Case] = [
        partial(interrupt, stage=stage, number=number, twice=twice)
        for stage, times in (("prepare", 1), ("train", 3), ("evaluate", 1))
        for number, twice in itertools.product(asked, (False, True))
        for _ in range(times)
    ]
    cases += [partial(interrupt_waiting, number=number) for number in asked]
    return cases
