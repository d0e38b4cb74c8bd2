"""Seeds are run once, as experiments of a commit, and compared with those of another."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import pytest
from scipy import stats
from typer.testing import CliRunner

from conftest import Project
from stages.cli import app

SEEDS = (sys.executable, "-m", "stages", "seeds")


class Story(NamedTuple):
    """A project in which two seeds have been run, in three calls."""

    project: Project
    by_ctrl_c: tuple[int, str]
    """Exit code and output of the first call."""
    by_sigterm: tuple[int, str]
    """Those of the second."""
    last: list[str]
    """The lines of the third, which finished: first the result, then DVC's output."""


def stop(project: Project, number: int) -> tuple[int, str]:
    """Run seeds; stop them when the second trains, as a terminal or as a supervisor does."""
    log = project.path.parent / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*SEEDS, "2"], cwd=project.path, stdout=file, stderr=file, start_new_session=True
        )
    wait_for(log, r"seed 1: (.|\n)*Running stage 'train'")
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return process.wait(60), log.read_text()


def wait_for(log: Path, pattern: str) -> None:
    """Wait until a log says something."""
    for _ in range(1200):
        if re.search(pattern, log.read_text()):
            return
        time.sleep(0.1)
    pytest.fail(log.read_text())


def accuracies(project: Project) -> dict[str, float]:
    """Return the test accuracy of each experiment of any commit, by its name, as DVC tells it."""
    revisions = json.loads(project.run("dvc", "exp", "show", "--all-commits", "--json"))
    revs = [exp["revs"][0] for entry in revisions for exp in entry["experiments"] or []]
    return {
        rev["name"]: rev["data"]["metrics"]["data/reports/test.json"]["data"]["accuracy"]
        for rev in revs
    }


@pytest.fixture(scope="module")
def story(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return a project with two seeds, the second of which was stopped twice. Do not change it."""
    path = tmp_path_factory.mktemp("story") / "project"
    shutil.copytree(recorded.path, path, symlinks=True)
    project = Project(path)
    return Story(
        project,
        stop(project, signal.SIGINT),
        stop(project, signal.SIGTERM),
        project.run(*SEEDS, "2").splitlines(),
    )


def test_what_was_stopped_continues(story: Story) -> None:
    """By Ctrl-C or SIGTERM: the next call runs what is missing, and nothing else."""
    (ctrl_c, first), (sigterm, second) = story.by_ctrl_c, story.by_sigterm

    assert (ctrl_c, sigterm) == (130, 143)
    assert "seed 0: 1 of 2 to run" in first
    for output in (second, "\n".join(story.last)):
        assert "seed 0: 1" not in output
        assert "seed 1: 1 of 1 to run" in output
    for output in (first, second):
        assert "interrupted: finished seeds are kept" in output


def test_seeds_are_run_once(story: Story) -> None:
    """When all are done, the same call only prints their results."""
    output = story.project.run(*SEEDS, "2")

    assert output.splitlines() == story.last[:3]


def test_the_report_is_of_the_experiments(story: Story) -> None:
    """It shows each accuracy as DVC does, the mean, the sample deviation (n - 1) and the range."""
    commit = story.project.run("git", "rev-parse", "HEAD")[:7]
    found = accuracies(story.project)
    values = [found[f"seeds-{commit}-{seed}"] for seed in (0, 1)]

    assert len(found) == 2
    for seed, (line, value) in enumerate(zip(story.last[:2], values, strict=True)):
        assert line == f"seed {seed}: test accuracy {value:.4f}"
    assert story.last[2] == (
        f"{commit}, 2 seeds: mean {mean(values):.4f}, standard deviation {stdev(values):.4f},"
        f" from {min(values):.4f} to {max(values):.4f}"
    )


def test_the_workspace_stays_as_it_is(story: Story, recorded: Project) -> None:
    """Neither parameters nor results of the commit change; nothing is left in Git's stash."""
    assert story.project.files() == recorded.files()
    assert story.project.run("git", "status", "--porcelain") == ""
    assert story.project.run("git", "stash", "list") == ""


def git(*arguments: str) -> str:
    """Run Git in the current folder."""
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a repository with two commits and no seeds."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    Path("data/reports").mkdir(parents=True)
    for accuracy in (0.5, 0.6):
        commit(accuracy)


def commit(accuracy: float) -> str:
    """Commit a test accuracy; return the commit's hash."""
    Path("data/reports/test.json").write_text(json.dumps({"accuracy": accuracy}))
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", f"{accuracy}")
    return git("rev-parse", "HEAD")


def record(rev: str, *accuracies: float) -> None:
    """Add seeds with these test accuracies to a commit, where and as DVC keeps experiments."""
    base, here = git("rev-parse", rev), git("rev-parse", "HEAD")
    for seed, accuracy in enumerate(accuracies):
        name = f"seeds-{base[:7]}-{seed}"
        git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit(accuracy))
        git("reset", "--quiet", "--hard", here)


def run_seeds(*arguments: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines that were printed."""
    result = CliRunner().invoke(app, ["seeds", *arguments], catch_exceptions=False)
    return result.exit_code, result.output.splitlines()


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([0.51, 0.53, 0.55], [0.61, 0.62]),
        ([0.51, 0.53, 0.55], [0.50, 0.55]),
        ([0.51, 0.53, 0.55], [0.42, 0.42]),
    ],
)
def test_two_commits_are_compared_by_their_seeds(old: list[float], new: list[float]) -> None:
    """All seeds of the other commit count; the interval is that of SciPy for Welch's test."""
    record("HEAD~1", *old)
    record("HEAD", *new)
    status, lines = run_seeds("2", "--against", "HEAD~1")
    with warnings.catch_warnings(action="ignore"):  # about seeds that do not vary
        low, high = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)

    assert status == 0
    assert lines[:2] == [f"seed {seed}: test accuracy {new[seed]:.4f}" for seed in (0, 1)]
    assert lines[3].startswith(f"HEAD~1, 3 seeds: mean {mean(old):.4f}, standard deviation")
    assert lines[4] == (
        f"difference {mean(new) - mean(old):+.4f}, with 95 % confidence between {low:+.4f}"
        f" and {high:+.4f}: {'within the' if low <= 0 <= high else 'more than'} noise"
    )


@pytest.mark.usefixtures("repository")
def test_equal_seeds_are_compared_in_pairs() -> None:
    """The probability is that of SciPy's paired one-sided test, over the seeds of both."""
    record("HEAD~1", 0.51, 0.53, 0.55, 0.9)
    record("HEAD", 0.52, 0.55, 0.57)
    lines = run_seeds("3", "--against", "HEAD~1")[1]
    test = stats.ttest_rel([0.52, 0.55, 0.57], [0.51, 0.53, 0.55], alternative="greater")

    assert lines[6] == f"seed by seed (3 pairs): p = {test.pvalue:.2g} that this is no gain"


@pytest.mark.usefixtures("repository")
def test_without_variation_the_noise_is_unknown() -> None:
    """Equal seeds on both sides do not show whether a difference is more than noise."""
    record("HEAD~1", 0.5, 0.5)
    record("HEAD", 0.6, 0.6)

    assert "so the noise is unknown: run more seeds" in run_seeds("2", "--against", "HEAD~1")[1][4]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("against", "said"),
    [
        ("other", "takes two seeds of other, and 1 were run"),
        ("other", "git switch --detach other, toypipe seeds 3, git switch -"),
        ("main", "is the commit you stand on"),
        ("nowhere", "no commit nowhere here"),
    ],
)
def test_a_comparison_is_refused_before_anything_is_trained(against: str, said: str) -> None:
    """A commit with fewer than two seeds gets advice; the current commit is not another one."""
    git("branch", "other", "HEAD~1")
    record("other", 0.5)
    status, lines = run_seeds("3", "--against", against)

    assert status == 2
    assert said in " ".join(lines)
    assert not any("to run" in line for line in lines)


def test_seeds_belong_to_a_commit(project: Project) -> None:
    """A changed tracked file is refused; an untracked one is not, for experiments leave it out."""
    assert "greater than or equal to 2" in project.run(*SEEDS, "1", status=2)
    project.edit("params.yaml", "lr: 0.01\n", "lr: 0.03\n")
    output = project.run(*SEEDS, "2", status=2)

    assert "M params.yaml" in output
    assert "git stash" in output


def test_a_change_between_two_seeds_stops_them(project: Project) -> None:
    """DVC would train the next one with it; without the change, the same command continues."""
    (project.path / "notes.txt").write_text("Git does not know this")
    log = project.path.parent / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen([*SEEDS, "2"], cwd=project.path, stdout=file, stderr=file)
    wait_for(log, "Reproducing experiment")
    project.edit("params.yaml", "lr: 0.01\n", "lr: 0.03\n")

    assert process.wait(60) == 3
    assert "the project changed between two seeds" in log.read_text()
    assert "seed 1" not in log.read_text()
