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
    """Return the project of who has pushed all, with the run cache. Do not change it: clone it."""
    project = Project(tmp_path_factory.mktemp("first") / "project")
    shutil.copytree(recorded.path, project.path, symlinks=True)
    project.run("dvc", "remote", "add", "--default", "storage", storage.url)
    configure(project, storage.settings)
    configure(project, storage.secrets, "--local")
    project.commit("Share it")
    project.run("dvc", "push")
    project.run("dvc", "push", "--run-cache")
    return project


Clone = Callable[[str], Project]


@pytest.fixture(scope="module")
def clone(first: Project, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return what clones the repository for somebody who may use the remote."""

    def clone(name: str) -> Project:
        project = Project(tmp_path_factory.mktemp(name) / "project")
        first.run("git", "clone", "--quiet", ".", str(project.path))
        configure(project, storage.secrets, "--local")
        return project

    return clone


@pytest.fixture(scope="module")
def experimenter(clone: Clone) -> Project:
    """Return the clone of who has run and pushed an experiment, `other-seed`, and committed none.

    Do not change it.
    """
    project = clone("experimenter")
    project.run("dvc", "exp", "run", *LAZY, "--name", "other-seed", "-S", "train.seed=1")
    project.run("dvc", "exp", "push", "origin", "other-seed")
    return project


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
    """Whoever clones and pulls has every file of whoever pushed, and is up to date."""
    second = clone("second")
    second.run("dvc", "pull")

    assert second.files() == first.files()
    assert second.ran() == []


def test_to_be_up_to_date_nothing_need_be_pulled(clone: Clone) -> None:
    """Neither is a stage run nor a file downloaded."""
    second = clone("second")
    before = second.files()

    assert second.ran(*LAZY) == []
    assert second.files() == before
    assert not (second.path / ".dvc/cache/files").exists()


def test_the_network_can_be_had_alone(first: Project, clone: Clone) -> None:
    """For who wants to use it only."""
    second = clone("second")
    second.run("dvc", "pull", "train")

    assert second.files().keys() - clone("third").files().keys() == {"data/model/checkpoint.pt"}
    second.run("python", "-m", "stages", "predict", str(first.path / "data/mine/test"))


@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        (("stages/evaluate.py", "Test a network;", "Judge a network;"), ["evaluate"]),
        (("params.yaml", "views: 1 ", "views: 2 "), ["check", "evaluate"]),
    ],
)
def test_whoever_changes_the_evaluation_downloads_no_training_images(
    first: Project, clone: Clone, edit: tuple[str, str, str], stages: list[str]
) -> None:
    """Only the network and the test images: neither the training set nor what it was made of."""
    second = clone("second")
    second.edit(*edit)

    assert second.ran(*LAZY) == stages
    for needed in ("data/model/checkpoint.pt", "data/prepared/test.pt"):
        assert cached(second, first, needed)
        assert needed in second.files()
    for needless in ("data/prepared/train.pt", "data/mine/train/cat/0.png"):
        assert not cached(second, first, needless)
        assert needless not in second.files()
    assert not has_trained(second)


def test_whoever_changes_the_training_downloads_the_prepared_images_only(
    first: Project, experimenter: Project
) -> None:
    """What they were made of stays where it is."""
    assert has_trained(experimenter)
    assert cached(experimenter, first, "data/prepared/train.pt")
    assert not cached(experimenter, first, "data/mine/train/cat/0.png")
    assert not (experimenter.path / "data/mine").exists()


def test_an_experiment_that_is_not_committed_is_shared_by_name(
    clone: Clone, experimenter: Project
) -> None:
    """Its parameters, its network and its metrics come along, and nothing is trained."""
    second = clone("second")
    second.run("dvc", "exp", "pull", "origin", "other-seed")
    second.run("dvc", "exp", "apply", "other-seed")

    assert second.ran() == []
    assert "seed: 1\n" in (second.path / "params.yaml").read_text()
    for name in ("data/model/checkpoint.pt", "data/reports/loss.csv", "data/reports/test.json"):
        assert second.files()[name] == experimenter.files()[name]
    assert not has_trained(second)


def test_what_was_trained_before_is_trained_nowhere_again(clone: Clone) -> None:
    """After `toypipe push`, whoever asks for the same parameters gets what they came to."""
    one, two = clone("one"), clone("two")
    change = "seed: 0\n", "seed: 2\n"
    one.edit("params.yaml", *change)
    assert "train" in one.ran(*LAZY)
    results = one.files()
    one.run("git", "reset", "--quiet", "--hard")
    one.run("dvc", "checkout", "--allow-missing")
    one.run("python", "-m", "stages", "push")

    two.edit("params.yaml", *change)
    assert two.ran(*LAZY) == ["check"]
    assert two.files() == results
    assert not has_trained(two)


def test_there_is_no_pushing_without_a_remote(recorded: Project) -> None:
    """DVC says what is missing."""
    output = recorded.run("python", "-m", "stages", "push", status=2)

    assert "no remote specified" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("storage", [S3], indirect=True)
def test_credentials_stay_outside_git(
    first: Project, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone knows where the remote is, and gets nothing from it without one's own."""
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
