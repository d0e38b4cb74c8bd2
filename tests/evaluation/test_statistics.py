"""Wilson's interval, Welch's interval and McNemar's test: by hand, by SciPy, by printed tables."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import bdtr, stdtrit
from scipy.stats import binomtest

from toypipe.evaluation.statistics import (
    Paired,
    mcnemar_test,
    paired_test,
    welch_interval,
    wilson_interval,
)

RESULTS = st.lists(st.integers(0, 10_000).map(lambda right: right / 10_000), min_size=2, max_size=9)
"""Accuracies on ten thousand images."""


@pytest.mark.parametrize("trials", [1, 2, 7, 100, 10_000])
def test_wilson_interval_equals_scipy(trials: int) -> None:
    """For all, none and any share between, it is SciPy's interval by Wilson's method."""
    for successes in {0, 1, trials // 3, trials // 2, trials - 1, trials}:
        expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")

        interval = wilson_interval(successes, trials)
        assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert 0 <= min(interval) <= max(interval) <= 1


@given(RESULTS, RESULTS)
def test_welch_interval_equals_the_published_formulas(new: list[float], old: list[float]) -> None:
    """Welch's statistic with Satterthwaite's degrees of freedom, for groups of any two sizes."""
    found = welch_interval(new, old)
    if found is None:
        assert len(set(new)) == len(set(old)) == 1
        return
    errors = [np.var(group, ddof=1) / len(group) for group in (new, old)]
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / (len(new) - 1) + errors[1] ** 2 / (len(old) - 1))
    half = stdtrit(freedom, 0.975) * sqrt(sum(errors))
    value = np.mean(new) - np.mean(old)

    assert found == pytest.approx((value, value - half, value + half), abs=1e-9)


@pytest.mark.parametrize(
    ("new", "old", "value", "error", "quantile"),
    [
        ([1, 2, 3], [4, 5, 6], -3.0, sqrt(2 / 3), 2.776),  # equal variances: 4 degrees
        ([1, 1], [1, 2, 3], -1.0, sqrt(1 / 3), 4.303),  # one does not vary: the other's 2 degrees
        ([0, 2], [5, 5], -4.0, 1.0, 12.706),  # two seeds are few: 1 degree
    ],
)
def test_welch_interval_equals_the_printed_table(
    new: list[float], old: list[float], value: float, error: float, quantile: float
) -> None:
    """Worked by hand, with the 97.5 % quantiles of t that every textbook prints."""
    found = welch_interval(new, old)

    assert found is not None
    assert found.value == value
    assert found.high - value == pytest.approx(quantile * error, rel=2e-4)
    assert value - found.low == pytest.approx(quantile * error, rel=2e-4)


def test_without_variation_the_noise_is_unknown() -> None:
    """There is no interval, whether the means differ or not."""
    assert welch_interval([0.5, 0.5], [0.9, 0.9, 0.9]) is None
    assert welch_interval([0.5, 0.5], [0.5, 0.5]) is None


def outcomes(gained: int, lost: int, both: int = 0) -> tuple[list[bool], list[bool]]:
    """Return whether each of two networks is right, image by image."""
    old = [False] * gained + [True] * (lost + both)
    new = [True] * gained + [False] * lost + [True] * both
    return old, new


def test_mcnemar_by_hand() -> None:
    """One loss in six decisive images: 2 (1 + 6) of the 64 ways to split them are as uneven."""
    assert mcnemar_test(*outcomes(gained=5, lost=1, both=9)) == Paired(5, 1, 14 / 64)


@pytest.mark.parametrize("both", [0, 7])
def test_equal_networks_do_not_differ(both: int) -> None:
    """Without decisive images, or with as many for each network, the probability is 1."""
    assert mcnemar_test(*outcomes(0, 0, both)).p_value == 1
    assert mcnemar_test(*outcomes(4, 4, both)).p_value == 1


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_counts_coin_tosses(gained: int, lost: int) -> None:
    """The probability is the exact share of the tosses of a fair coin that are as uneven."""
    trials, fewer = gained + lost, min(gained, lost)
    exact = min(1, 2 * sum(comb(trials, heads) for heads in range(fewer + 1)) / 2**trials)

    assert mcnemar_test(*outcomes(gained, lost)).p_value == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(2400, 2600), (5000, 5100), (9000, 300)])
def test_mcnemar_takes_thousands_of_images(gained: int, lost: int) -> None:
    """It equals an incomplete beta function, where binomial coefficients exceed any float."""
    expected = 2 * bdtr(min(gained, lost), gained + lost, 0.5)

    assert mcnemar_test(*outcomes(gained, lost)).p_value == pytest.approx(expected, rel=1e-9)


def test_the_order_of_the_networks_does_not_matter() -> None:
    """Exchanged, gains are losses, and the probability is the same."""
    old, new = outcomes(12, 5, 3)
    there, back = mcnemar_test(old, new), mcnemar_test(new, old)

    assert (back.gained, back.lost, back.p_value) == (there.lost, there.gained, there.p_value)


def test_different_images_are_not_compared() -> None:
    """Pairs need the same images: another number of them is refused."""
    with pytest.raises(ValueError, match="longer"):
        mcnemar_test([True], [True, False])


def test_a_paired_test_is_that_of_scipy() -> None:
    """By seeds: it finds a small gain that the spread of the seeds would hide."""
    old, new = [0.50, 0.60, 0.70, 0.80], [0.51, 0.612, 0.709, 0.811]
    found = paired_test(new, old)

    assert found is not None
    assert found == pytest.approx(stats.ttest_rel(new, old, alternative="greater").pvalue)
    assert found < 0.01
    assert stats.ttest_ind(new, old, alternative="greater").pvalue > 0.4


def test_equal_gains_have_no_noise() -> None:
    """Whatever rounding makes of them."""
    assert paired_test([0.3, 0.4], [0.2, 0.3]) is None
