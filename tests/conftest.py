"""Fixtures that more than one file of tests uses."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from synthetic import PARAMS, ROOT, make_folder


def clean_environment() -> None:
    """Run every command on one thread of the CPU, with this environment's tools, not the user's."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "DVC_", "TOYPIPE_", "GIT_")):
            del os.environ[name]
    torch.set_num_threads(1)
    bin_folder = str(Path(sys.executable).parent)
    os.environ.update(
        PATH=os.pathsep.join([bin_folder, os.environ["PATH"]]),
        OMP_NUM_THREADS="1",
        TOYPIPE_DEVICE="cpu",  # where there is a GPU, its own tests name it
        DVC_NO_ANALYTICS="1",
        GIT_AUTHOR_NAME="tests",
        GIT_AUTHOR_EMAIL="tests@example.org",
        GIT_COMMITTER_NAME="tests",
        GIT_COMMITTER_EMAIL="tests@example.org",
        GIT_CONFIG_GLOBAL=os.devnull,
    )


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> None:
    clean_environment()


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Refuse `-m gpu` where there is no GPU: a run that skips everything would look green."""
    if config.option.markexpr == "gpu" and not torch.cuda.is_available():
        raise pytest.UsageError("-m gpu needs a CUDA device, and torch finds none here")


class Project:
    """A copy of this project in a folder of its own, with a small data set."""

    def __init__(self, path: Path) -> None:
        """Stand in this folder."""
        self.path = path

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command; return what it printed, standard error included."""
        result = subprocess.run(
            command, cwd=self.path, capture_output=True, text=True, check=False, timeout=240
        )
        output = result.stdout + result.stderr

        assert result.returncode == status, f"{command} ended with {result.returncode}:\n{output}"
        return output

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the only occurrence of a text in a file."""
        text = (self.path / name).read_text()

        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        (self.path / name).write_text(text.replace(old, new))

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def ran(self, *options: str) -> list[str]:
        """Run `dvc repro`; return the stages that it ran."""
        lines = self.run("dvc", "repro", *options).splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]

    def forget(self) -> None:
        """Let no finished training be delivered again: the next one is real work."""
        shutil.rmtree(self.path / ".toypipe")

    def files(self) -> dict[str, bytes]:
        """Return every file below data/, by name."""
        files = (path for path in (self.path / "data").rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files}


def make_project(path: Path, *, each: int = 6, epochs: int = 2) -> Project:
    """Return a project under git and dvc, in which no stage has run yet.

    Args:
        path: Where it goes.
        each: How many pictures each of its two classes has, in each half.
        epochs: How long it trains.
    """
    project = Project(path)
    names = ["dvc.yaml", ".dvcignore", ".gitignore", ".gitattributes"]
    for folder in ("stages", "toypipe", ".dvc"):
        hidden = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local", "plots.html")
        shutil.copytree(ROOT / folder, project.path / folder, ignore=hidden)
    for name in names:
        shutil.copy(ROOT / name, project.path / name)
    shutil.copy(PARAMS, project.path / "params.yaml")
    make_folder(project.path / "data/mine", each=each)
    project.edit(
        "params.yaml", "name: cifar10 ", "name: folder\n    path: data/mine\n    size: 16 "
    )
    project.edit("params.yaml", "epochs: 20 ", f"epochs: {epochs} ")
    project.edit("params.yaml", "batch_size: 32\n", "batch_size: 4\n")
    project.edit("params.yaml", "validation: 5000 ", "validation: 2 ")
    before = "      - stages/prepare.py\n"
    if "      - data/mine\n" not in (ROOT / "dvc.yaml").read_text():
        project.edit("dvc.yaml", before, f"      - data/mine\n{before}")
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "add", "--quiet", "data/mine")
    return project


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that has been run and committed. Do not change it: take `project`."""
    project = make_project(tmp_path_factory.mktemp("recorded") / "project")
    project.run("dvc", "repro")
    project.commit("First record")
    return project


@pytest.fixture
def project(recorded: Project, tmp_path: Path) -> Project:
    """Return a project of one's own that has been run and committed."""
    shutil.copytree(recorded.path, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture
def edited(project: Project) -> Callable[[str, str, str], list[str]]:
    """Return what edits a file and tells which stages `dvc repro` runs after it."""

    def edit_and_run(name: str, old: str, new: str) -> list[str]:
        project.edit(name, old, new)
        return project.ran()

    return edit_and_run
