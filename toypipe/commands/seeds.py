"""`toypipe seeds`: the same training from several seeds, for a difference within noise is none.

Each seed is a DVC experiment of the commit one stands on. It is named after both, so what has been
run is found again, by a later call or from a later commit.
"""

import re
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.commands.git import find_commit, git
from toypipe.commands.recorded_metrics import accuracy_at
from toypipe.errors import InputsChangedError, ToypipeError
from toypipe.evaluation.statistics import difference, spread
from toypipe.pipeline.signals import interrupts

GRACE = 10.0
"""Seconds that DVC has for ending by itself after a Ctrl-C, which it hears from the terminal."""


class Seeds(NamedTuple):
    """The test accuracy from each seed."""

    name: str
    """The commit, as the user calls it."""
    accuracies: dict[int, float]


def run(count: int, against: str | None) -> tuple[Seeds, Seeds | None]:
    """Train from the seeds 0 to count - 1 at this commit, those that have not been run there yet.

    Args:
        count: How many.
        against: A commit to compare with, at which seeds have been run.

    Returns:
        The seeds of this commit, and all that there are of the other.

    Raises:
        ToypipeError: The project is not as it was committed, there is nothing to compare with, or
            a training fails.
        Interrupted: The process was asked to end; the next call goes on.
    """
    require_dvc("seeds")
    commit = find_commit("HEAD")
    if changed := _changed():
        raise ToypipeError(
            "an experiment belongs to a commit, but this is changed and in none:\n"
            f"{changed}\nCommit it, or put it away (git stash), and run this again"
        )
    other = _other(against, commit, count) if against else None
    missing = [seed for seed in range(count) if seed not in _experiments(commit)]
    for turn, seed in enumerate(missing):
        if turn > 0 and (_changed() or find_commit("HEAD") != commit):
            raise InputsChangedError(
                f"the project was changed while seeds were run, so the next would not be of commit"
                f" {commit[:7]}. Go back to it (git status shows what is changed), and run this"
                " again: it goes on"
            )
        print(f"seed {seed}: {turn + 1} of {len(missing)} to run", file=sys.stderr, flush=True)
        _train(seed, commit)
        interrupts.raise_received("what has been run is kept; the same command goes on")
        if seed not in _experiments(commit):
            raise ToypipeError(
                f"seed {seed} does not run through; see above. The same command goes on with it"
            )
    own = _accuracies(commit, commit[:7])
    return Seeds(commit[:7], {seed: own[seed] for seed in range(count)}), other


def _changed() -> str:
    """Return what is not as it was committed; what Git does not track is in no experiment."""
    return git("status", "--porcelain", "--untracked-files=no").rstrip()


def _other(against: str, commit: str, count: int) -> Seeds:
    """Return the seeds that have been run at another commit."""
    other = find_commit(against)
    if other == commit:
        raise ToypipeError(f"--against {against} is the commit you stand on: name another")
    seeds = Seeds(against, _accuracies(other, against))
    if len(seeds.accuracies) < 2:
        raise ToypipeError(
            f"of {against}, {len(seeds.accuracies)} seeds have been run, and it takes two to know"
            f" how they vary: git switch --detach {against}, toypipe seeds {count}, git switch -"
        )
    return seeds


def _experiments(commit: str) -> dict[int, str]:
    """Return the hash of each seed's experiment; DVC keeps those of a commit as its references."""
    place = f"refs/exps/{commit[:2]}/{commit[2:]}/{_name(commit)}"
    found = git("for-each-ref", "--format=%(objectname) %(refname)", f"{place}*")
    pairs = re.findall(rf"^(\w+) {place}(\d+)$", found, re.MULTILINE)
    return {int(seed): experiment for experiment, seed in pairs}


def _name(commit: str) -> str:
    """Return how the names of the experiments begin: the seed follows."""
    return f"seeds-{commit[:7]}-"


def _accuracies(commit: str, name: str) -> dict[int, float]:
    return {
        seed: float(accuracy_at(experiment, f"seed {seed} of {name}"))
        for seed, experiment in sorted(_experiments(commit).items())
    }


def _train(seed: int, commit: str) -> None:
    """Run an experiment in a folder of its own, to its end or to that of DVC."""
    name = f"{_name(commit)}{seed}"
    command = [*COMMAND, "exp", "run", "--temp", "--name", name, "-S", f"train.seed={seed}"]
    # What DVC says is progress, not the result.
    process = subprocess.Popen(command, env=environment(), stdout=sys.stderr)
    with interrupts.held():
        while process.poll() is None and interrupts.received is None:
            time.sleep(0.1)
        try:
            process.wait(GRACE if interrupts.received == signal.SIGINT else 0)
        except subprocess.TimeoutExpired:
            process.terminate()  # then the training saves its state and ends, too
            process.wait()


def say(own: Seeds, other: Seeds | None) -> None:
    """Print each accuracy, how they vary, and whether they differ from the others."""
    for seed, accuracy in own.accuracies.items():
        print(f"seed {seed}: test accuracy {accuracy:.4f}")
    for seeds in [own, other] if other else [own]:
        found = spread(list(seeds.accuracies.values()))
        print(
            f"{seeds.name}, {len(seeds.accuracies)} seeds: mean {found.mean:.4f},"
            f" standard deviation {found.deviation:.4f}, from {found.low:.4f} to {found.high:.4f}"
        )
    if other:
        change = difference(list(own.accuracies.values()), list(other.accuracies.values()))
        if change is None:
            print("neither varies, so nothing is known of the noise: run more seeds")
        else:
            within = change.low <= 0 <= change.high
            print(
                f"difference {change.value:+.4f}, with 95 % confidence between {change.low:+.4f}"
                f" and {change.high:+.4f}: {'within the' if within else 'more than'} noise"
            )
