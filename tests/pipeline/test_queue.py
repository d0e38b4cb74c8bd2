"""DVC's own queue runs many experiments at once, and each comes to what it would alone."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from conftest import Project
from synthetic import ROOT
from toypipe.pipeline.cores import queue_workers

SEEDS = (1, 2, 3, 4)
FIGURES = ("data/reports/loss.csv", "data/reports/train.json", "data/reports/test.json")
AS_TORCH_WILL = ("env", "-u", "OMP_NUM_THREADS")

ONE_BY_ONE = """
import shutil, sys
from stages.cli import app
for seed in sys.argv[1:]:
    app(["train", "-S", f"train.seed={seed}"], standalone_mode=False)
    app(["evaluate"], standalone_mode=False)
    shutil.copytree("data", f"seed{seed}/data")
"""


@pytest.fixture(scope="module")
def queued(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Return a project in which a queue of two workers has run four seeds."""
    path = tmp_path_factory.mktemp("queued") / "project"
    shutil.copytree(recorded.path, path, symlinks=True)
    project = Project(path)
    project.forget()
    project.run("dvc", "exp", "run", "--queue", "-S", f"train.seed={','.join(map(str, SEEDS))}")
    project.run(*AS_TORCH_WILL, "dvc", "queue", "start", "-j", "2")
    try:
        end = time.monotonic() + 600
        while len(experiments(project)) < len(SEEDS):
            assert time.monotonic() < end, project.run("dvc", "queue", "status")
            time.sleep(0.5)
        yield project
    finally:
        project.run("dvc", "queue", "stop", "--kill")


def experiments(project: Project) -> dict[int, str]:
    """Return the hash of the experiment of each seed that has come to its end."""
    refs = project.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    commits = re.findall(r"^(\w+) refs/exps/\w\w/", refs, re.MULTILINE)
    return {int(value(project, commit, r"^  seed: (\d+)")): commit for commit in commits}


def value(project: Project, commit: str, pattern: str, name: str = "params.yaml") -> str:
    """Return what a file of an experiment says."""
    text = project.run("git", "show", f"{commit}:{name}")
    (found,) = set(re.findall(pattern, text, re.MULTILINE))
    return str(found)


@pytest.fixture(scope="module")
def share(recorded: Project) -> str:
    """Return half of the threads that torch takes on this machine, but at least one."""
    code = "import torch; print(max(1, torch.get_num_threads() // 2))"
    return recorded.run(*AS_TORCH_WILL, sys.executable, "-c", code).strip()


def test_two_workers_of_a_queue_share_the_cores(queued: Project, share: str) -> None:
    """Each takes half, the last too, beside which nothing runs any more."""
    records = (queued.path / ".toypipe/runs").glob("*/run.json")
    threads = [json.loads(record.read_bytes())["machine"]["threads"] for record in records]

    assert threads == [share] * len(SEEDS)


def test_an_experiment_of_a_queue_comes_to_what_it_would_alone(
    queued: Project, share: str, project: Project
) -> None:
    """Figures and network are the same to the bit, with the same number of threads."""
    project.forget()
    command = (sys.executable, "-c", ONE_BY_ONE, *map(str, SEEDS))
    project.run("env", f"OMP_NUM_THREADS={share}", *command)
    found = experiments(queued)

    assert set(found) == set(SEEDS)
    for seed, commit in found.items():
        for name in FIGURES:
            own = (project.path / f"seed{seed}" / name).read_text()
            assert queued.run("git", "show", f"{commit}:{name}") == own, f"seed {seed}: {name}"
        network = project.path / f"seed{seed}/data/model/checkpoint.pt"
        md5 = value(queued, commit, r"checkpoint.pt\n +hash: md5\n +md5: (\w+)", "dvc.lock")
        own = hashlib.md5(network.read_bytes(), usedforsecurity=False).hexdigest()
        assert own == md5, f"seed {seed}: checkpoint.pt"


WORKER = """
import subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
code = "import torch; from toypipe.pipeline.cores import queue_workers, share_cores;"
code += "share_cores(torch.device('cpu')); print(queue_workers(), torch.get_num_threads())"
subprocess.run([sys.executable, "-c", code])
"""


def start_worker(name: str) -> "subprocess.Popen[str]":
    """Start a process that looks like a worker of a queue, with two threads, and awaits a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, "exp", "queue-worker", f"dvc-exp-{name}@localhost"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DVC_STAGE": "train",
            "OMP_NUM_THREADS": "2",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_only_the_workers_of_ones_own_queue_count() -> None:
    """Another project's queue is no matter, and nor is a worker that has ended.

    However many there are, a number of threads that the user has set stays.
    """
    own, others = f"{os.getpid()}a", f"{os.getpid()}b"  # of nobody else on this machine
    with (
        start_worker(f"{own}-1") as first,
        start_worker(f"{own}-2") as second,
        start_worker(f"{others}-1") as other,
    ):
        said = [process.communicate("\n")[0].split() for process in (other, first, second)]
    workers, threads = zip(*said, strict=True)

    assert workers == ("1", "2", "1")
    assert len(set(threads)) == 1
    assert queue_workers() == 1
