"""Seeds are run once, as experiments of a commit, and compared with those of another."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import pytest
from scipy import stats

from conftest import Project

SEEDS = (sys.executable, "-m", "stages", "seeds")


class Story(NamedTuple):
    """A project in which two seeds have been run, in three calls."""

    project: Project
    by_ctrl_c: tuple[int, str]
    """What the first call ended with, and said."""
    by_sigterm: tuple[int, str]
    """What the second did."""
    last: list[str]
    """The lines of the one that came to the end: first the result, then what DVC said."""


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


def test_what_was_stopped_goes_on(story: Story) -> None:
    """By Ctrl-C or SIGTERM: the next call runs what is missing, and nothing else."""
    (ctrl_c, first), (sigterm, second) = story.by_ctrl_c, story.by_sigterm

    assert (ctrl_c, sigterm) == (130, 143)
    assert "seed 0: 1 of 2 to run" in first
    for output in (second, "\n".join(story.last)):
        assert "seed 0: 1" not in output
        assert "seed 1: 1 of 1 to run" in output
    for output in (first, second):
        assert "interrupted: what has been run is kept" in output


def test_seeds_are_run_once(story: Story) -> None:
    """When all are there, the same call only tells what they came to."""
    output = story.project.run(*SEEDS, "2")

    assert output.splitlines() == story.last[:3]


def test_the_report_is_of_the_experiments(story: Story) -> None:
    """Of their accuracies as DVC shows them: each, the mean, the deviation and the range."""
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


def test_two_commits_are_compared_by_their_seeds(story: Story, tmp_path: Path) -> None:
    """With the interval that scipy has for Welch's test, and what it means."""
    shutil.copytree(story.project.path, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    project.edit("params.yaml", "views: 1 ", "views: 2 ")  # the trainings are those of before
    project.commit("Look at the mirror images, too")
    output = project.run(*SEEDS, "2", "--against", "HEAD~1")
    found = accuracies(project)
    new, old = (
        [found[f"seeds-{project.run('git', 'rev-parse', rev)[:7]}-{seed}"] for seed in (0, 1)]
        for rev in ("HEAD", "HEAD~1")
    )
    low, high = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)

    assert f"HEAD~1, 2 seeds: mean {mean(old):.4f}" in output
    assert output.splitlines()[4] == (
        f"difference {mean(new) - mean(old):+.4f}, with 95 % confidence between {low:+.4f}"
        f" and {high:+.4f}: {'within the' if low <= 0 <= high else 'more than'} noise"
    )


def test_a_commit_without_seeds_is_nothing_to_compare_with(story: Story) -> None:
    """Before anything is trained, it says how to run some; its own commit is no other."""
    project = story.project
    project.run(
        "git",
        "branch",
        "--force",
        "other",
        project.run("git", "commit-tree", "-m", "-", "HEAD^{tree}").strip(),
    )
    without = project.run(*SEEDS, "3", "--against", "other", status=2)

    assert "of other, 0 seeds have been run" in without
    assert "git switch --detach other, toypipe seeds 3, git switch -" in without
    assert "to run\n" not in without
    assert "is the commit you stand on" in project.run(*SEEDS, "3", "--against", "main", status=2)
    assert "no commit nowhere here" in project.run(*SEEDS, "3", "--against", "nowhere", status=2)


def test_seeds_belong_to_a_commit(project: Project) -> None:
    """What is changed is refused, what Git does not know is not: it is in no experiment."""
    assert "greater than or equal to 2" in project.run(*SEEDS, "1", status=2)
    project.edit("params.yaml", "lr: 0.01\n", "lr: 0.03\n")
    output = project.run(*SEEDS, "2", status=2)

    assert "M params.yaml" in output
    assert "git stash" in output


def test_a_change_between_two_seeds_stops_them(project: Project) -> None:
    """DVC would run the next with it; put back, the same command goes on."""
    (project.path / "notes.txt").write_text("Git does not know this")
    log = project.path.parent / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen([*SEEDS, "2"], cwd=project.path, stdout=file, stderr=file)
    wait_for(log, "Reproducing experiment")
    project.edit("params.yaml", "lr: 0.01\n", "lr: 0.03\n")

    assert process.wait(60) == 3
    assert "the project was changed while seeds were run" in log.read_text()
    assert "seed 1" not in log.read_text()
