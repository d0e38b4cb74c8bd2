"""Hardships of a process: its terminal hangs up, or it may open few files."""

import os
import resource
import signal
from functools import partial
from pathlib import Path
from random import Random

from faults.arena import Arena, Case
from faults.forks import bare, end, settle, start
from faults.tally import Tally


def hang_up(arena: Arena, random: Random, stage: str) -> Tally:
    """Close the terminal of a stage at a random moment; the next call goes on."""
    subject = bare(arena, stage)
    process = start(subject, stage)
    moment = random.random() * arena.seconds[stage] / 2
    process.join(moment)
    if process.exitcode is None and process.pid is not None:
        os.kill(process.pid, signal.SIGHUP)
    code = end(subject, process)
    what = f"SIGHUP to {stage} after {moment:.2f} s"
    return settle(arena, subject, what, stage=stage, code=code, allowed={0, -signal.SIGHUP})


def few_files(arena: Arena, random: Random, stage: str) -> Tally:
    """Run a stage that may open few files: it goes well, or ends with a paragraph."""
    subject = bare(arena, stage)
    more = random.randrange(2, 14)  # with one, Python itself cannot start

    def limit() -> None:
        most = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + more
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    code = end(subject, start(subject, stage, limit))
    what = f"{stage} that may open {more} files"
    return settle(arena, subject, what, stage=stage, code=code, allowed={0, 2})


def hang_ups(_: Arena) -> list[Case]:
    """Return 110, most of them in training."""
    numbers = (("check", 5), ("prepare", 15), ("train", 75), ("evaluate", 15))
    return [partial(hang_up, stage=stage) for stage, times in numbers for _ in range(times)]


def file_limits(_: Arena) -> list[Case]:
    """Return 110 limits, for every stage."""
    numbers = (("check", 10), ("prepare", 30), ("train", 40), ("evaluate", 30))
    return [partial(few_files, stage=stage) for stage, times in numbers for _ in range(times)]
