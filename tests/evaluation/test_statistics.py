"""How results vary, and when they differ: against scipy, and against the printed table of t."""

import warnings
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from toypipe.evaluation.statistics import difference, spread

RESULTS = st.lists(st.integers(0, 10_000).map(lambda right: right / 10_000), min_size=2, max_size=9)
"""Accuracies on ten thousand images."""


@given(RESULTS)
def test_the_spread_is_that_of_numpy(values: list[float]) -> None:
    """The deviation is that of a sample, by n - 1."""
    found = spread(values)

    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert (found.low, found.high) == (min(values), max(values))


@given(RESULTS, RESULTS)
def test_the_interval_is_that_of_scipy(new: list[float], old: list[float]) -> None:
    """Welch's, for groups of any two sizes; without any variation there is none."""
    found = difference(new, old)
    if found is None:
        assert len(set(new)) == len(set(old)) == 1
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of precision lost in a group that does not vary
        interval = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)

    assert found.value == pytest.approx(np.mean(new) - np.mean(old), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=1e-9)


@pytest.mark.parametrize(
    ("new", "old", "value", "error", "quantile"),
    [
        ([1, 2, 3], [4, 5, 6], -3.0, sqrt(2 / 3), 2.776),  # equal variances: 4 degrees
        ([1, 1], [1, 2, 3], -1.0, sqrt(1 / 3), 4.303),  # one does not vary: the other's 2 degrees
        ([0, 2], [5, 5], -4.0, 1.0, 12.706),  # two seeds are few: 1 degree
    ],
)
def test_the_interval_is_that_of_the_table(
    new: list[float], old: list[float], value: float, error: float, quantile: float
) -> None:
    """Worked by hand, with the 97.5 % quantiles of t as every textbook prints them."""
    found = difference(new, old)

    assert found is not None
    assert found.value == value
    assert found.high - value == pytest.approx(quantile * error, rel=2e-4)
    assert value - found.low == pytest.approx(quantile * error, rel=2e-4)


def test_what_does_not_vary_tells_nothing_of_noise() -> None:
    """However far the means are apart, and also where they are equal."""
    assert difference([0.5, 0.5], [0.9, 0.9, 0.9]) is None
    assert difference([0.5, 0.5], [0.5, 0.5]) is None
