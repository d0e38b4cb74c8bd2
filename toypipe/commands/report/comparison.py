"""A run and an earlier one: how they differ, and whether that is more than noise."""

from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toypipe.commands.git import file_at, find_commit
from toypipe.commands.report.provenance import PARAMS, Difference, differences
from toypipe.commands.results import Results
from toypipe.errors import ToypipeError
from toypipe.evaluation.statistics import Paired, mcnemar_test
from toypipe.params.schema import Params

SIGNIFICANT = 0.05


class Change(NamedTuple):
    """How a run differs from an earlier one."""

    gain: float
    """By how much its test accuracy is higher."""
    certain: bool
    """Whether that is more than noise."""
    paired: Paired | None
    """Image by image; None if the test images differ, so that only the intervals compare."""
    params: list[Difference]
    """The parameters that differ."""


def compare(now: Results, then: Results, params: Params) -> Change:
    """Compare the results and parameters of this folder with those of a commit.

    Results on the same images are compared by McNemar's test, others by their intervals.
    """
    paired = mcnemar_test(then.right, now.right) if now.actual == then.actual else None
    low = max(now.test.accuracy_low, then.test.accuracy_low)
    apart = low > min(now.test.accuracy_high, then.test.accuracy_high)
    certain = paired.p_value < SIGNIFICANT if paired else apart
    try:
        old = YAML(typ="safe", pure=True).load(file_at(find_commit(then.name), PARAMS))
    except (ToypipeError, YAMLError):
        old = None
    gain = now.test.accuracy - then.test.accuracy
    return Change(gain, certain, paired, differences(old, params))
