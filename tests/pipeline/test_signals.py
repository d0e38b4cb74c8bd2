"""Commands end when they are asked to, with the exit code that says so."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from synthetic import ROOT
from toypipe.pipeline.signals import POLL, Interrupted, interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are of Unix")

WAIT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background
from toypipe.pipeline.signals import Interrupted, interrupts
try:
    with interrupts.listening():
        {body}
except Interrupted as end:
    print(end)
    sys.exit(end.exit_code)
"""
AT_ONCE = "print('ready', flush=True); time.sleep(60)"
HELD = """
        with interrupts.held():
            print('ready', flush=True)
            while interrupts.received is None:
                time.sleep(0.01)
            {then}
        interrupts.raise_received('saved')
"""


def start(body: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a process that listens, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT.format(body=body)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_interrupts_at_once(number: signal.Signals) -> None:
    """Also where SIGINT was ignored; the exit code is what a shell reports for the signal."""
    with start(AT_ONCE) as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)

    assert (output, process.returncode) == (f"{number.name}\n", 128 + number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_is_held_back(number: signal.Signals) -> None:
    """Within a held part the work goes on to a good moment."""
    with start(HELD.format(then="print('saving')")) as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)

    assert (output, process.returncode) == ("saving\nsaved\n", 128 + number)


def test_a_second_request_ends_at_once() -> None:
    """Whatever is being saved."""
    with start(HELD.format(then="print('saving', flush=True); time.sleep(60)")) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "saving\n"
        start_of_end = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert time.monotonic() - start_of_end < 5
    assert process.returncode == 130


def test_afterwards_signals_are_what_they_were() -> None:
    """A program that runs a command within itself keeps its own handlers."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts.listening():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_afterwards_nobody_watches_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a program that runs a command within itself would be ended later on."""
    monkeypatch.setenv("DVC_STAGE", "train")
    before = set(threading.enumerate())
    with interrupts.listening():
        (watch,) = set(threading.enumerate()) - before
        time.sleep(POLL)
    watch.join(5)
    assert not watch.is_alive()


OUTSIDE = """
import os, runpy, sys, time
import stages.cli
stages.cli.app = lambda **_: (os.kill(os.getpid(), {number}), time.sleep(20))
runpy.run_module("stages", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_alike_when_nobody_listens(number: signal.Signals) -> None:
    """Before it has begun or after it has ended: the same exit code, and no traceback."""
    code = OUTSIDE.format(number=int(number))
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (process.returncode, process.stderr) == (128 + number, "")


def test_an_interruption_is_one_to_others_too() -> None:
    """Libraries that clean up after KeyboardInterrupt do so."""
    assert issubclass(Interrupted, KeyboardInterrupt)
    assert Interrupted(signal.SIGTERM).exit_code == 143


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(["sh", "-c", sys.argv[1] + "; true"],  # through a shell, as DVC does
                         env={**os.environ, "DVC_STAGE": "train"}, start_new_session=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_ends_with_dvc(number: signal.Signals, tmp_path: Path) -> None:
    """When the process that started it is gone, it is interrupted within seconds."""
    body = HELD.format(then="open('end', 'w').write('saved')").replace("print('ready'", "print('x'")
    body = body.replace("print('x', flush=True)", "open('ready', 'w').close()")
    (tmp_path / "stage.py").write_text(WAIT.format(body=body))
    command = f"{sys.executable} {tmp_path / 'stage.py'}"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    _wait_for(tmp_path / "ready")
    parent.send_signal(number)
    parent.wait()

    _wait_for(tmp_path / "end", seconds=5)


def test_a_stage_whose_dvc_lives_is_left_alone(tmp_path: Path) -> None:
    """It runs to its end."""
    body = "time.sleep(2); open('end', 'w').close()"
    (tmp_path / "stage.py").write_text(WAIT.format(body=body))
    command = f"{sys.executable} {tmp_path / 'stage.py'}"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        _wait_for(tmp_path / "end")
        parent.kill()


def _wait_for(path: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} does not appear"
        time.sleep(0.05)
