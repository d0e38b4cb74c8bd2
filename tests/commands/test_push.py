"""What one clone has pushed to a DVC remote, in other clones of the Git repository.

Each claim holds for a folder and, in `make integration`, for S3.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from s3_server import BUCKET, serve_s3

from conftest import Project
from toypipe.commands import predict

S3 = pytest.param("s3", marks=pytest.mark.integration)
LAZY = ("--pull", "--allow-missing")
"""Options of `dvc repro`: download what a stage that must run needs, and nothing else."""


class Storage(NamedTuple):
    """Where a remote is, and what DVC must know to use it."""

    url: str
    settings: dict[str, str]
    """For .dvc/config, which is in Git."""
    secrets: dict[str, str]
    """For .dvc/config.local, which is not."""


@pytest.fixture(scope="module", params=["folder", S3])
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """Return an empty remote."""
    folder = tmp_path_factory.mktemp("remote")
    if request.param == "folder":
        yield Storage(str(folder), {}, {})
        return
    with serve_s3(folder / "log.txt") as address:
        secrets = {"access_key_id": "someone", "secret_access_key": "open-sesame"}
        yield Storage(f"s3://{BUCKET}/cache", {"endpointurl": address}, secrets)


def configure(project: Project, settings: dict[str, str], *options: str) -> None:
    """Tell DVC about the remote."""
    for name, value in settings.items():
        project.run("dvc", "remote", "modify", *options, "storage", name, value)


@pytest.fixture(scope="module")
def first(recorded: Project, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that has pushed all, and its run cache. Do not change it: clone it."""
    project = Project(tmp_path_factory.mktemp("first") / "project")
    shutil.copytree(recorded.path, project.path, symlinks=True)
    project.run("dvc", "remote", "add", "--default", "storage", storage.url)
    configure(project, storage.settings)
    configure(project, storage.secrets, "--local")
    project.commit("Share it")
    project.run("dvc", "push", "--run-cache")
    return project


Clone = Callable[[str], Project]


@pytest.fixture(scope="module")
def clone(first: Project, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a function that clones the repository for a user with access to the remote."""

    def clone(name: str) -> Project:
        project = Project(tmp_path_factory.mktemp(name) / "project")
        first.run("git", "clone", "--quiet", ".", str(project.path))
        configure(project, storage.secrets, "--local")
        return project

    return clone


class Experimenter(NamedTuple):
    """A clone that has run an experiment, `other-seed`, and has since returned to the commit."""

    project: Project
    results: dict[str, bytes]
    """Every file below data/ after the experiment."""
    remote: dict[str, str]
    """Settings of the remote that holds the experiment, and only that."""


@pytest.fixture(scope="module")
def experimenter(clone: Clone, storage: Storage) -> Experimenter:
    """Return a clone that has pushed its experiment to a remote, and its run cache to another.

    Do not change it.
    """
    project = clone("experimenter")
    project.run("dvc", "exp", "run", *LAZY, "--name", "other-seed", "-S", "train.seed=1")
    results = project.files()
    project.run("git", "reset", "--quiet", "--hard")
    project.run("dvc", "checkout", "--allow-missing")
    project.run("python", "-m", "stages", "push")
    remote = {"url": f"{storage.url}/experiments"}
    configure(project, remote, "--local")
    project.run("dvc", "exp", "push", "--no-run-cache", "origin", "other-seed")
    return Experimenter(project, results, remote)


def md5_of(project: Project, name: str) -> str:
    """Return the md5 of a file, by which DVC's cache knows it."""
    return hashlib.md5((project.path / name).read_bytes(), usedforsecurity=False).hexdigest()


def cached(project: Project, owner: Project, name: str) -> bool:
    """Tell whether a file that its owner has is in a project's cache."""
    md5 = md5_of(owner, name)
    return (project.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).exists()


def has_trained(project: Project) -> bool:
    """Tell whether a training has ever begun there."""
    return (project.path / ".toypipe/runs").exists()


def test_after_a_pull_nothing_is_run_again(first: Project, clone: Clone) -> None:
    """A clone that pulls has every file that was pushed, and is up to date."""
    second = clone("second")
    second.run("dvc", "pull")

    assert second.files() == first.files()
    assert second.ran() == []


def test_a_clone_is_up_to_date_without_a_pull(clone: Clone) -> None:
    """`dvc repro` runs no stage and downloads no file."""
    second = clone("second")
    before = second.files()

    assert second.ran(*LAZY) == []
    assert second.files() == before
    assert not (second.path / ".dvc/cache/files").exists()


def test_the_network_can_be_pulled_alone(first: Project, clone: Clone) -> None:
    """`dvc pull train` brings the checkpoint and nothing else, and `predict` needs no more."""
    second = clone("second")
    before = second.files().keys()
    second.run("dvc", "pull", "train")

    checkpoint = "data/model/checkpoint.pt"
    assert second.files().keys() - before == {checkpoint}
    names = [str(first.path / "data/mine/test")]
    answers = predict.run(names, checkpoint=second.path / checkpoint, device="cpu", views=1)
    assert sum(map(len, answers)) == 12


def test_a_change_of_the_evaluation_downloads_no_training_images(
    first: Project, clone: Clone
) -> None:
    """Of code or parameters: only the network and the test images are downloaded."""
    second = clone("second")
    second.edit("params.yaml", "views: 1 ", "views: 2 ")
    with (second.path / "stages/evaluate.py").open("a") as file:
        file.write("# edited\n")

    assert second.ran(*LAZY) == ["check", "evaluate"]
    for needed in ("data/model/checkpoint.pt", "data/prepared/test.pt"):
        assert cached(second, first, needed)
        assert needed in second.files()
    for needless in ("data/prepared/train.pt", "data/mine/train/cat/0.png"):
        assert not cached(second, first, needless)
        assert needless not in second.files()
    assert not has_trained(second)


def test_a_change_of_the_training_downloads_the_prepared_images_only(
    first: Project, experimenter: Experimenter
) -> None:
    """The images that they were made from are not downloaded."""
    assert has_trained(experimenter.project)
    assert cached(experimenter.project, first, "data/prepared/train.pt")
    assert not cached(experimenter.project, first, "data/mine/train/cat/0.png")
    assert not (experimenter.project.path / "data/mine").exists()


def test_an_experiment_that_is_not_committed_is_shared_by_name(
    clone: Clone, experimenter: Experimenter
) -> None:
    """Its parameters, its network and its metrics come along, and nothing is trained."""
    second = clone("second")
    second.run("dvc", "pull", "data/mine")
    configure(second, experimenter.remote, "--local")
    second.run("dvc", "exp", "pull", "origin", "other-seed")
    second.run("dvc", "exp", "apply", "other-seed")

    assert second.ran() == []
    assert "seed: 1\n" in (second.path / "params.yaml").read_text()
    files = second.files()
    for name in ("data/model/checkpoint.pt", "data/reports/loss.csv", "data/reports/test.json"):
        assert files[name] == experimenter.results[name]
    assert not has_trained(second)


def test_what_was_trained_before_is_trained_nowhere_again(
    clone: Clone, experimenter: Experimenter
) -> None:
    """After `toypipe push`, a clone with the same parameters gets all results of another's run."""
    second = clone("second")
    second.edit("params.yaml", "seed: 0\n", "seed: 1\n")

    assert second.ran(*LAZY) == ["check"]
    assert second.files() == experimenter.results
    assert not has_trained(second)


def test_a_push_without_a_remote_fails(recorded: Project) -> None:
    """DVC's own message says what is missing."""
    output = recorded.run("python", "-m", "stages", "push", status=2)

    assert "no remote specified" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("storage", [S3], indirect=True)
def test_credentials_stay_outside_git(
    first: Project, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone knows where the remote is, but needs the user's own credentials to read it."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # else it asks the network for some
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    second = Project(tmp_path / "second")
    first.run("git", "clone", "--quiet", ".", str(second.path))

    assert storage.url in (second.path / ".dvc/config").read_text()
    assert first.run("git", "log", "--all", "-S", storage.secrets["secret_access_key"]) == ""
    assert "Unable to locate credentials" in second.run("dvc", "pull", status=1)

    configure(second, storage.secrets, "--local")
    second.run("dvc", "pull")
    assert second.files() == first.files()
