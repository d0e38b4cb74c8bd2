"""A clock that is set while a training runs, by libfaketime; skipped where it is not installed."""

import signal
import time
from functools import partial
from pathlib import Path
from random import Random

from faults.arena import OUTPUTS, Arena, Case, direct
from faults.tally import Tally

FAKETIME = next(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"), None)
STEPS = ("-10y", "-1d", "-3h", "-61s", "-2s", "+2s", "+61s", "+1d", "+10y")


def clock_set(arena: Arena, random: Random, step: str, *, stopped: bool) -> Tally:
    """Set the clock at a random moment of a training; perhaps stop that, and let it go on."""
    if FAKETIME is None:
        return Tally(notes=["skipped: libfaketime is not installed"])
    subject = arena.copy("train")
    clock = subject.path.with_suffix(".clock")
    clock.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # setting a clock does not set this one
    }
    with subject.started(*direct("train"), **environment) as process:
        time.sleep(random.random() * arena.seconds["train"])
        clock.write_text(f"{step}\n")
        if stopped:
            time.sleep(random.random() / 2)
            process.send_signal(signal.SIGTERM)
    codes = [process.returncode]
    if stopped:
        codes.append(subject.end(*direct("train"), **environment))
    code, what = codes[-1], f"clock {step} in training, exit codes {codes}"
    files, tally = subject.files(), Tally(1)
    wrong = [name for name in OUTPUTS["train"] if files.get(name) != arena.truth.files[name]]
    listed = subject.end("python", "-m", "stages", "runs", **environment)
    tally.outputs = len(wrong) + (code != 0) + (listed != 0)
    tally.litter, tally.tracebacks = len(subject.litter()), subject.printed.count("Traceback")
    return tally.close(subject.path, f"{what}: {wrong}\n{subject.printed[-2000:]}")


def cases(_: Arena) -> list[Case]:
    """Return twelve for each step."""
    return [
        partial(clock_set, step=step, stopped=stopped)
        for step in STEPS
        for stopped in (False, True)
        for _ in range(6)
    ]
