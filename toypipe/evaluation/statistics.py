"""How much results vary from seed to seed, and whether a difference is more than that."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev, variance
from typing import NamedTuple


class Spread(NamedTuple):
    """What repeated runs came to."""

    mean: float
    deviation: float
    """The standard deviation of one run, estimated with n - 1."""
    low: float
    high: float


class Difference(NamedTuple):
    """One mean less another."""

    value: float
    low: float
    """With 95 % confidence the difference lies between this"""
    high: float
    """and this."""


def spread(values: Sequence[float]) -> Spread:
    """Describe at least two results."""
    return Spread(fmean(values), stdev(values), min(values), max(values))


def difference(new: Sequence[float], old: Sequence[float]) -> Difference | None:
    """Compare two groups of results that need not vary equally: Welch's interval.

    Welch, "The generalization of 'Student's' problem when several different population variances
    are involved", Biometrika 34, 1947, with the degrees of freedom of Satterthwaite, "An
    approximate distribution of estimates of variance components", Biometrics Bulletin 2, 1946.

    Args:
        new: At least two results.
        old: At least two others.

    Returns:
        The mean of `new` less that of `old`; None if neither group varies, for then nothing is
        known of the noise.
    """
    from scipy.special import stdtrit  # not what only lists the commands

    parts = [(variance(values) / len(values), len(values) - 1) for values in (new, old)]
    square = sum(part for part, _ in parts)
    if square == 0:
        return None
    freedom = square**2 / sum(part**2 / count for part, count in parts)
    half = float(stdtrit(freedom, 0.975)) * sqrt(square)
    value = fmean(new) - fmean(old)
    return Difference(value, value - half, value + half)
