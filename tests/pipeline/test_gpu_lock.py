"""One process at a time holds a GPU, and a dead one holds none."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest
import torch

from conftest import Project
from synthetic import ROOT
from toypipe.errors import ToypipeError
from toypipe.pipeline.gpu_lock import lock_gpus, locked_gpu, visible_gpus

TWO = {0: "GPU-a", 1: "GPU-b"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


COMMAND = """
import sys, time
from toypipe.pipeline.signals import Interrupted, interrupts
from toypipe.pipeline.gpu_lock import lock_gpus
try:
    with interrupts.listening(), lock_gpus({count}, {gpus}) as indices:
        print(*indices, flush=True)
        time.sleep({seconds})
        print("end", *indices, flush=True)
except Interrupted as end:
    sys.exit(end.exit_code)
"""


def start(
    count: int,
    gpus: dict[int, str],
    seconds: float = 60,
    stdout: IO[str] | int = subprocess.PIPE,
    **environment: str,
) -> "subprocess.Popen[str]":
    """Start a process that leases GPUs for a while, and says so."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(count=count, gpus=gpus, seconds=seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def line(process: "subprocess.Popen[str]", stream: str = "stdout") -> str:
    """Return the next line that a process prints."""
    file = getattr(process, stream)
    return str(file.readline()).strip()


@pytest.fixture
def holder() -> Iterator["subprocess.Popen[str]"]:
    """Return a process that has both GPUs."""
    with start(2, TWO) as process:
        assert line(process) == "0 1"
        yield process
        process.kill()


def test_each_has_another() -> None:
    """Who comes second gets the second; what was given back is had again."""
    with lock_gpus(1, TWO) as first:
        with lock_gpus(1, TWO) as second:
            assert (first, second) == ([0], [1])
        with lock_gpus(1, TWO) as again:
            assert again == [1]


def test_a_gpu_is_the_same_under_any_index() -> None:
    """CUDA_VISIBLE_DEVICES counts the GPUs in another order in each process."""
    with lock_gpus(1, {0: "GPU-b"}), lock_gpus(1, {0: "GPU-b", 1: "GPU-a"}) as indices:
        assert indices == [1]


def test_a_killed_process_has_none(holder: "subprocess.Popen[str]") -> None:
    """A killed process cannot release its lock; a waiting one gets it, after one line about it."""
    with start(1, TWO, seconds=0) as waiting:
        assert line(waiting, "stderr").startswith("waiting for a GPU: other commands")
        holder.kill()
        output, errors = waiting.communicate(timeout=20)

    assert (output, errors, waiting.returncode) == ("0\nend 0\n", "", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_ends_when_asked_to(
    holder: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    """With the exit code that says so, and the GPUs stay with who has them."""
    with start(1, TWO) as waiting:
        line(waiting, "stderr")
        waiting.send_signal(number)
        output, _ = waiting.communicate(timeout=20)

    assert (output, waiting.returncode) == ("", 128 + number)
    assert holder.poll() is None


def test_several_that_want_several_all_come_to_an_end() -> None:
    """Two of three GPUs each: one at a time, no two wait for each other, nobody has a half."""
    log = Path("log.txt")
    with log.open("w") as file:
        processes = [start(2, {**TWO, 2: "GPU-c"}, seconds=0.2, stdout=file) for _ in range(4)]
        for process in processes:
            process.communicate(timeout=60)

    assert log.read_text().splitlines() == ["0 1", "end 0 1"] * 4


def test_who_waits_for_several_holds_none() -> None:
    """What is free meanwhile is had by those whom it will do for."""
    with lock_gpus(1, TWO), start(2, TWO) as waiting:
        assert line(waiting, "stderr").startswith("waiting for 2 GPUs")
        with lock_gpus(1, TWO) as indices:
            assert indices == [1]
        waiting.kill()


def test_locks_are_with_the_main_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiments in temporary workspaces of DVC take none from each other."""
    with start(1, {0: "GPU-a"}, DVC_ROOT=str(tmp_path / "main")) as other:
        assert line(other) == "0"
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
        threading.Timer(1, other.kill).start()
        start_of_wait = time.monotonic()
        with lock_gpus(1, {0: "GPU-a"}):
            assert time.monotonic() - start_of_wait > 0.5


def test_more_than_there_are_is_refused() -> None:
    """It would wait for ever."""
    with pytest.raises(ToypipeError, match="3 GPUs of one model are needed, but there are 2"):
        lock_gpus(3, TWO).__enter__()


def test_a_cpu_is_not_locked() -> None:
    """It is for all, as ever."""
    with locked_gpu(torch.device("cpu")), locked_gpu(torch.device("cpu")):
        assert not Path(".toypipe").exists()


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.gpu
@cuda
def test_the_gpu_that_is_had_is_the_current_one() -> None:
    """With all others taken, it is the one that is left; tensors on "cuda" are there."""
    *others, last = visible_gpus()
    with ExitStack() as taken:
        for index in others:
            taken.enter_context(lock_gpus(1, {index: visible_gpus()[index]}))
        taken.enter_context(locked_gpu(torch.device("cuda")))
        assert torch.zeros(1, device="cuda").get_device() == last


COUNTING = """
import torch
from toypipe.pipeline.gpu_lock import gpus
from toypipe.compute.devices import describe, pick_device
describe(pick_device("cuda"))
gpus = visible_gpus()
print(any(torch._C._cuda_hasPrimaryContext(i) for i in gpus), len(set(gpus.values())))
"""


@pytest.mark.gpu
@cuda
def test_counting_starts_no_gpu() -> None:
    """A context costs memory on each; and each has a name of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        [sys.executable, "-c", COUNTING], env=environment, stdout=subprocess.PIPE, check=True
    ).stdout

    assert output.split() == [b"False", str(len(visible_gpus())).encode()]


@pytest.mark.gpu
@cuda
def test_a_gpu_has_one_name_whatever_is_visible() -> None:
    """By CUDA_VISIBLE_DEVICES the last becomes the first, and keeps its name."""
    index, name = list(visible_gpus().items())[-1]
    code = "from toypipe.pipeline.gpu_lock import visible_gpus; print(visible_gpus()[0])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": str(index)}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True, text=True
    ).stdout

    assert output.strip() == name


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_commands_wait_for_a_gpu(project: Project, command: str) -> None:
    """While others have all there are; then they compute on one."""
    with start(len(visible_gpus()), visible_gpus(), DVC_ROOT=str(project.path)) as other:
        line(other)
        with subprocess.Popen(
            [sys.executable, "-m", "stages", command, "--device", "cuda"],
            cwd=project.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            assert line(waiting, "stderr").startswith("waiting for a GPU")
            other.kill()

    assert waiting.returncode == 0
