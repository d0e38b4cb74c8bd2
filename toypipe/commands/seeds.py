"""`toypipe seeds`: train from several seeds, to see whether a difference is more than noise.

Each seed is a DVC experiment of the current commit, named after the commit and the seed, so that
later calls find it.
"""

import signal
import subprocess
import sys
import time
from statistics import fmean, stdev

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.commands.git import find_commit, git
from toypipe.commands.results import accuracy_at
from toypipe.errors import InputsChangedError, ToypipeError, printable
from toypipe.evaluation.statistics import paired_test, welch_interval
from toypipe.pipeline.signals import interrupts

GRACE = 10.0  # seconds for DVC to end by itself after a Ctrl-C, which the terminal sends to it, too


def run(count: int, against: str | None) -> None:
    """Train from the seeds 0 to count - 1 at this commit, except those that are done.

    Print their accuracies, and the comparison with all seeds of the commit `against`, if named.
    Raises ToypipeError if the project differs from its commit, the other commit has too few seeds,
    or a training fails; Interrupted if asked to end: the next call continues.
    """
    require_dvc("toypipe seeds")
    commit = find_commit("HEAD")
    if changed := _changes():
        raise ToypipeError(
            "an experiment belongs to a commit, but these changes are in none:",
            *changed.splitlines(),
            "Commit them, or put them away (git stash), and run this again",
        )
    other = _other_accuracies(against, commit, count) if against else {}
    missing = [seed for seed in range(count) if seed not in _experiments(commit)]
    for turn, seed in enumerate(missing, start=1):
        if turn > 1 and (_changes() or find_commit("HEAD") != commit):
            raise InputsChangedError(
                "the project changed between two seeds, so the next one would not belong to commit"
                f" {commit[:7]}. Go back to it (git status shows the changes), and run the same"
                " command again: it continues"
            )
        print(f"seed {seed}: {turn} of {len(missing)} to run", file=sys.stderr, flush=True)
        _train(seed, commit)
        interrupts.raise_received("finished seeds are kept; the same command continues")
        if seed not in _experiments(commit):
            raise ToypipeError(
                f"seed {seed} failed, see above. The same command starts again with this seed"
            )
    own = dict(list(_accuracies(commit).items())[:count])
    for seed, accuracy in own.items():
        print(f"seed {seed}: test accuracy {accuracy:.4f}")
    for name, found in {commit[:7]: own, printable(against or ""): other}.items():
        if values := list(found.values()):
            print(
                f"{name}, {len(values)} seeds: mean {fmean(values):.4f}, standard deviation"
                f" {stdev(values):.4f}, from {min(values):.4f} to {max(values):.4f}"
            )
    if other:
        _print_difference(own, other)


def _changes() -> str:
    """Return what differs from the commit; an experiment leaves out what Git does not track."""
    return git("status", "--porcelain", "--untracked-files=no").rstrip()


def _other_accuracies(against: str, commit: str, count: int) -> dict[int, float]:
    other = find_commit(against)
    if other == commit:
        raise ToypipeError(f"--against {against} is the commit you stand on: name another")
    accuracies = _accuracies(other)
    if len(accuracies) < 2:
        raise ToypipeError(
            f"a comparison takes two seeds of {against}, and {len(accuracies)} were run. Run them:"
            f" git switch --detach {against}, toypipe seeds {count}, git switch -"
        )
    return accuracies


def _experiments(commit: str) -> dict[int, str]:
    """Return the hash of each seed's experiment; DVC keeps experiments as Git references."""
    place = f"refs/exps/{commit[:2]}/{commit[2:]}/seeds-{commit[:7]}-"
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", f"{place}*").splitlines()
    pairs = (line.removeprefix(place).split() for line in lines)
    return {int(seed): experiment for seed, experiment in pairs if seed.isdecimal()}


def _accuracies(commit: str) -> dict[int, float]:
    """Return the test accuracies of a commit's seeds, by ascending seed."""
    found = sorted(_experiments(commit).items())
    return {seed: float(accuracy_at(experiment)) for seed, experiment in found}


def _train(seed: int, commit: str) -> None:
    """Run an experiment in a folder of its own, until it or DVC ends."""
    name, change = f"seeds-{commit[:7]}-{seed}", f"train.seed={seed}"
    command = [*COMMAND, "exp", "run", "--temp", "--name", name, "-S", change]
    # DVC's output is progress, not the result.
    process = subprocess.Popen(command, env=environment(), stdout=sys.stderr)
    with interrupts.held():
        while process.poll() is None and interrupts.received is None:
            time.sleep(0.1)
        try:
            process.wait(GRACE if interrupts.received == signal.SIGINT else 0)
        except subprocess.TimeoutExpired:
            process.terminate()  # the training saves its state and ends, too
            process.wait()


def _print_difference(own: dict[int, float], other: dict[int, float]) -> None:
    change = welch_interval(list(own.values()), list(other.values()))
    if change is None:
        print("neither group varies, so the noise is unknown: run more seeds")
        return
    within = change.low <= 0 <= change.high
    print(
        f"difference {change.value:+.4f}, with 95 % confidence between {change.low:+.4f}"
        f" and {change.high:+.4f}: {'within the' if within else 'more than'} noise"
    )
    both = own.keys() & other.keys()
    if len(both) > 1:
        chance = paired_test([own[seed] for seed in both], [other[seed] for seed in both])
        if chance is not None:
            print(f"seed by seed ({len(both)} pairs): p = {chance:.2g} that this is no gain")
