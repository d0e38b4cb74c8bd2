"""DVC's queue runs several experiments at once, and each gives the bytes of a run alone."""

import hashlib
import re
import shutil
import sys
import time
from collections.abc import Iterator

import pytest

from conftest import Project

pytestmark = pytest.mark.integration

SEEDS = (1, 2)
FIGURES = ("data/reports/loss.csv", "data/reports/train.json", "data/reports/test.json")

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
    """Return a project in which a queue of two workers has run two seeds at once."""
    path = tmp_path_factory.mktemp("queued") / "project"
    shutil.copytree(recorded.path, path, symlinks=True)
    project = Project(path)
    project.forget()
    project.run("dvc", "exp", "run", "--queue", "-S", f"train.seed={','.join(map(str, SEEDS))}")
    project.run("dvc", "queue", "start", "-j", "2")
    try:
        end = time.monotonic() + 600
        while len(experiments(project)) < len(SEEDS):
            assert time.monotonic() < end, project.run("dvc", "queue", "status")
            time.sleep(0.5)
        yield project
    finally:
        project.run("dvc", "queue", "stop", "--kill")


def experiments(project: Project) -> dict[int, str]:
    """Return the hash of each finished experiment, by its seed."""
    refs = project.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    commits = re.findall(r"^(\w+) refs/exps/\w\w/", refs, re.MULTILINE)
    return {int(value(project, commit, r"^  seed: (\d+)")): commit for commit in commits}


def value(project: Project, commit: str, pattern: str, name: str = "params.yaml") -> str:
    """Return what a file of an experiment says."""
    text = project.run("git", "show", f"{commit}:{name}")
    (found,) = set(re.findall(pattern, text, re.MULTILINE))
    return str(found)


def test_an_experiment_of_a_queue_gives_the_bytes_of_a_run_alone(
    queued: Project, project: Project
) -> None:
    """Figures and network are identical, with the same number of threads."""
    project.forget()
    project.run(sys.executable, "-c", ONE_BY_ONE, *map(str, SEEDS))
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
