"""A few faults of each kind; `make faults` injects hundreds, at random moments."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from random import Random

import pytest

from faults import (
    broken_files,
    damage,
    disks,
    edits,
    hostile_text,
    interruptions,
    kills,
    parameters,
    streams,
)
from faults.arena import Arena, Case
from faults.edits import Edit
from faults.tally import Tally
from synthetic import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="moments are found in /proc")


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """Return a project before each of its stages, and the truth."""
    return Arena(tmp_path_factory.mktemp("arena"))


def require(tally: Tally) -> None:
    """Hold a fault to have cost nothing but time."""
    assert tally.count == 1
    assert tally.good, "\n".join(tally.notes)


@pytest.mark.faults
def test_a_killed_training_is_resumed(arena: Arena) -> None:
    """With DVC, at any moment: the next run ends with the bytes of one never killed."""
    require(kills.kill(arena, Random(1), "train", under_dvc=True, group=True))


@pytest.mark.faults
def test_a_stage_killed_between_two_renames_is_repeated(arena: Arena) -> None:
    """One output is there, the others are not: the next run delivers them all."""
    require(kills.kill_at_rename(arena, Random(1), "train", "data/reports/loss.csv"))


@pytest.mark.faults
def test_a_stage_ends_with_its_dvc(arena: Arena) -> None:
    """Within seconds, and the next run goes on."""
    require(kills.dvc_dies(arena, Random(2), "train", signal.SIGKILL))


SAVES = """
import time
from toypipe.pipeline.signals import POLL, interrupts
with interrupts.listening(), interrupts.held():
    print("ready", flush=True)
    while interrupts.received is None:
        time.sleep(0.01)
    time.sleep(4 * POLL)
    print("saved", flush=True)
"""
DVC = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]], env={**os.environ, "DVC_STAGE": "train"})
"""


ORPHAN = """
import os, time
parent = os.getpid()
if os.fork():
    os._exit(0)  # before the stage has seen its DVC
while os.getppid() == parent:
    time.sleep(0.01)
from toypipe.pipeline.signals import Interrupted, interrupts
try:
    with interrupts.listening():
        time.sleep(10)
except Interrupted:
    print(os.getppid(), "ended")
else:
    print(os.getppid(), "went on")
"""


def test_a_stage_notices_that_its_dvc_died_before_it_could_look() -> None:
    """Process 1 has adopted it, whose environment an ordinary user may not read."""
    result = subprocess.run(
        [sys.executable, "-c", ORPHAN],
        cwd=ROOT,
        env={**os.environ, "DVC_STAGE": "train"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    adopter, *outcome = result.stdout.split()
    if adopter != "1":
        pytest.skip("another process than 1 adopts orphans here")
    assert outcome == ["ended"]


def test_a_stage_that_is_ended_with_its_dvc_has_time_to_save() -> None:
    """SIGTERM to both is one request: the death of DVC is not taken for a second one."""
    process = subprocess.Popen(
        [sys.executable, "-c", DVC, SAVES],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # until the stage has found out which process is DVC
    os.killpg(process.pid, signal.SIGTERM)
    with process:
        assert process.stdout.read() == "saved\n"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("stage", "number", "twice"),
    [("train", signal.SIGTERM, False), ("evaluate", signal.SIGINT, True)],
)
def test_an_interrupted_stage_says_so(
    arena: Arena, stage: str, number: signal.Signals, *, twice: bool
) -> None:
    """It ends with 128 and the signal's number, whatever it was at, and the next run goes on."""
    require(interruptions.interrupt(arena, Random(3), stage, number, twice=twice))


@pytest.mark.faults
def test_an_edit_in_mid_run_is_never_recorded(arena: Arena) -> None:
    """Put back, or run as it is now: what is recorded is what was used."""
    edit = Edit("train", "toypipe/training/losses.py", edits.comment, harmless=True)
    require(edits.edit_in_mid_run(arena, Random(4), edit))


@pytest.mark.faults
def test_a_write_that_fails_leaves_nothing(arena: Arena) -> None:
    """No half-written file and no temporary one, and with room the next run goes on."""
    require(disks.limit_files(arena, Random(5), "train"))


@pytest.mark.faults
@pytest.mark.parametrize(
    ("stage", "file", "corruption"),
    [
        ("evaluate", "data/prepared/test.pt", "code"),
        ("evaluate", "data/model/checkpoint.pt", "weights not numbers"),
    ],
)
def test_a_bad_file_is_refused(arena: Arena, stage: str, file: str, corruption: str) -> None:
    """With a paragraph; none of its code is run, and nothing is touched."""
    require(damage.bad_input(arena, Random(6), stage, file, corruption))


@pytest.mark.faults
def test_a_damaged_state_stops_nothing(arena: Arena) -> None:
    """The training starts from the beginning, and ends with the same bytes."""
    require(damage.bad_state(arena, Random(7), "state.pt", "other shapes"))


@pytest.mark.faults
def test_what_others_wrote_is_read_or_refused(arena: Arena) -> None:
    """Names, pipeline files, results and runs: a code of its own, and harmless text."""
    parts: list[Case] = [
        hostile_text.parameter_named,
        hostile_text.metric_named,
        partial(broken_files.broken, file="dvc.lock", content=b"stages:\n"),
        partial(broken_files.damaged, file="loss.csv", content=b"\xff"),
        partial(broken_files.noted, record='{"used": 1e300}'),
        partial(broken_files.strange, entry="odd name"),
    ]
    tally = hostile_text.in_one_copy(arena, Random(9), parts)

    assert tally.count > len(parts)
    assert tally.good, "\n".join(tally.notes)


@pytest.mark.faults
def test_a_closed_stream_changes_no_exit_code(arena: Arena) -> None:
    """A training is delivered without standard output."""
    require(streams.redirected(arena, Random(10), "{} >&-", "train"))


def test_no_parameter_file_causes_a_traceback() -> None:
    """Whatever is in it, it is fine or refused."""
    tally = parameters.bad_parameters(60, seed=8)
    assert tally.count >= 60
    assert tally.good, "\n".join(tally.notes)
