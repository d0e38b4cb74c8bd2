"""Commands in several processes: the same results, and one message when one of them dies."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from conftest import Project

TRAIN = (sys.executable, "-m", "stages", "train", "-S", "train.epochs=30")
TWO = ("--processes", "2")
OUTPUTS = ("data/model/checkpoint.pt", "data/reports/loss.csv", "data/reports/train.json")


@contextmanager
def started(project: Project, *command: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run a command until it has trained for an epoch; yield it, and what it said so far."""
    with subprocess.Popen(
        command, cwd=project.path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("epoch"):
                break
        try:
            yield process, said
        finally:
            if process.poll() is None:
                process.kill()


def outputs(project: Project) -> list[bytes]:
    """Return the bytes of what a training writes."""
    return [(project.path / name).read_bytes() for name in OUTPUTS]


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that share the work of a command, by rank."""
    children = psutil.Process(process.pid).children()
    return sorted(children, key=lambda child: int(child.environ()["RANK"]))


@pytest.fixture(scope="module")
def trained(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that two processes have trained without a break."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(recorded.path, folder / "project", symlinks=True)
    project = Project(folder / "project")
    project.run(*TRAIN, *TWO)
    return project


def test_two_processes_give_the_losses_of_one(trained: Project, project: Project) -> None:
    """loss.csv is that of one process but for rounding; so is what evaluate says."""
    project.run(*TRAIN)
    ours, theirs = (
        [
            [float(cell) for cell in row.split(",")]
            for row in (each.path / "data/reports/loss.csv").read_text().splitlines()[1:]
        ]
        for each in (trained, project)
    )

    assert len(ours) == 30
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-4)


def test_evaluation_is_shared_out_and_gives_the_same_bytes(project: Project) -> None:
    """All that evaluate writes is to the bit what one process writes; one line says so."""
    before = project.files()
    said = project.run(sys.executable, "-m", "stages", "evaluate", *TWO)

    assert project.files() == before
    assert said.count("test accuracy") == 1


def test_a_training_goes_on_after_an_interruption_and_a_death(
    trained: Project, project: Project
) -> None:
    """Ctrl-C saves, a killed process ends all, and what goes on ends with the same bytes."""
    with started(project, *TRAIN, *TWO) as (process, _):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

        assert process.returncode == 130
        assert len(re.findall("interrupted: stopped after epoch", said)) == 1

    with started(project, *TRAIN, *TWO) as (process, early):
        workers = ranks_of(process)
        start = time.monotonic()
        workers[1].kill()
        _, said = process.communicate(timeout=60)

        assert time.monotonic() - start < 10
        assert process.returncode == 1
        assert "resuming after epoch" in early[0]
        assert not [line for line in said.splitlines() if not line.startswith(("epoch", "error"))]
        assert "error: process 1 was killed (SIGKILL); the same command resumes" in said
        assert not any(worker.is_running() for worker in workers)

    project.run(*TRAIN, *TWO)

    assert outputs(project) == outputs(trained)


@pytest.mark.integration
def test_no_process_outlives_the_one_that_started_it(project: Project) -> None:
    """When the command itself is killed, the others save and end."""
    with started(project, *TRAIN, *TWO) as (process, _):
        workers = ranks_of(process)
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=30)

        assert not alive
    assert list(project.path.glob(".toypipe/runs/*/state.pt"))


@pytest.mark.integration
def test_torchrun_starts_the_training_again(trained: Project, project: Project) -> None:
    """Under an outer torchrun the same command takes part, and goes on when it is restarted."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=1")
    command = (*torchrun, "--nproc-per-node=2", *TRAIN[1:])
    with started(project, *command) as (process, _):
        ranks_of(process)[0].kill()
        process.communicate(timeout=120)

        assert process.returncode == 0
    assert outputs(project) == outputs(trained)


@pytest.mark.integration
def test_dvc_runs_it_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """TOYPIPE_PROCESSES decides for `dvc repro`, and is nothing that it records."""
    monkeypatch.setenv("TOYPIPE_PROCESSES", "2")

    assert project.ran() == []

    project.edit("params.yaml", "lr: 0.01", "lr: 0.02")

    assert project.ran() == ["check", "train", "evaluate"]
    machines = [path.read_text() for path in project.path.glob(".toypipe/runs/*/run.json")]
    assert any('"processes": "2"' in text for text in machines)


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (["--processes", "0"], 2, r"--processes \(or TOYPIPE_PROCESSES\) is 0, expected a number"),
        (["--processes", "many"], 2, r"is many, expected a number from 1 on, or auto"),
        (["--processes", "3"], 1, r"the last batch of 10 images has 2, too few for 3 processes"),
    ],
)
def test_an_impossible_number_is_refused(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    status: int,
    expected: str,
) -> None:
    """One paragraph, from whichever process: 2 before they start, 1 after; no result is lost.

    Under DVC it says how to restore the outputs that DVC removed.
    """
    monkeypatch.setenv("DVC_STAGE", "train")
    before = project.files()
    said = project.run(*TRAIN, *options, status=status)

    assert re.search(expected, said)
    assert said.count("error:") == 1
    assert said.count("dvc checkout") == 1
    assert "Traceback" not in said
    assert project.files() == before


def test_a_port_in_use_is_named(project: Project) -> None:
    """Where no torchrun chooses the port, one that is taken is one clear line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        said = subprocess.run(
            TRAIN,
            env={**os.environ, **address, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            cwd=project.path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert said.returncode == 2
    assert re.fullmatch(
        rf"error: .*cannot connect: .*{port}.*address already in use\n", said.stderr
    )
