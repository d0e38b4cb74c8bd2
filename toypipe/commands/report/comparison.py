"""The commit and the parameters of a run, and how it differs from an earlier one."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from toypipe.commands.git import file_at, find_commit, git
from toypipe.commands.results import Results
from toypipe.errors import ToypipeError
from toypipe.evaluation.statistics import Paired, mcnemar_test
from toypipe.params.documents import LARGEST, Document
from toypipe.params.file import flatten
from toypipe.params.schema import Params
from toypipe.pipeline.dvc_files import read_lock

PARAMS = Path("params.yaml")
TRACKED = ("params.yaml", "dvc.yaml", "dvc.lock", "data/reports", "stages", "toypipe")

Difference = tuple[str, str, str]  # a parameter, its earlier and present value, as in params.yaml


class Change(NamedTuple):
    """How a run differs from an earlier one."""

    gain: float  # by how much its test accuracy is higher
    certain: bool  # whether that is more than noise
    paired: Paired | None  # image by image; None if the test images differ
    params: list[Difference]  # those that differ


def compare(now: Results, then: Results, params: Params) -> Change:
    """Compare the results and parameters of this folder with those of a commit.

    Results on the same images are compared by McNemar's test, others by their intervals.
    """
    if [actual for actual, _ in now.pairs] == [actual for actual, _ in then.pairs]:
        old, new = ([actual == found for actual, found in run.pairs] for run in (then, now))
        paired = mcnemar_test(old, new)
        certain = paired.p_value < 0.05
    else:
        paired, low = None, max(now.test.accuracy_low, then.test.accuracy_low)
        certain = low > min(now.test.accuracy_high, then.test.accuracy_high)
    content, before = file_at(find_commit(then.name), PARAMS, LARGEST + 1), {}
    with suppress(ToypipeError):
        before = Document(PARAMS, content or b"").yaml(dict[str, Any])
    gain = now.test.accuracy - then.test.accuracy
    return Change(gain, certain, paired, differences(before, params))


def current_commit() -> tuple[str, bool]:
    """Return the short hash of the commit, if there is one, and whether the project differs."""
    try:
        commit = git("rev-parse", "--short", "HEAD").strip()
    except ToypipeError:
        return "", True
    return commit, bool(git("status", "--porcelain", "--", *TRACKED))


def recorded_params() -> dict[str, Any] | None:
    """Return the parameters in dvc.lock; None if it does not hold them all."""
    try:
        stages = read_lock()
        return {name: stages[name].params["params.yaml"][name] for name in Params.model_fields}
    except (OSError, ToypipeError, KeyError):
        return None


def differences(then: dict[str, Any] | None, params: Params) -> list[Difference]:
    """Compare parameters with earlier ones; there are no differences if those are unknown."""
    if not then:
        return []
    old, new = dict(flatten(then)), dict(flatten(params.model_dump()))
    return [
        (key, written(old.get(key)), written(new.get(key)))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def written(value: Any) -> str:
    """Write a parameter as params.yaml does, or `none`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
