"""How far results are due to chance: intervals of Wilson and Welch, tests of Student, McNemar."""

import math
import warnings
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


class Paired(NamedTuple):
    """Two networks on the same images."""

    gained: int  # images that only the new one classifies right
    lost: int  # images that only the old one classifies right
    p_value: float  # probability of a split at least as uneven, if both networks are equally good


class Difference(NamedTuple):
    """The difference of two means, with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, from at least one trial.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    share, z2 = successes / trials, Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # At the ends the formula gives 0 and 1, except for rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def welch_interval(new: Sequence[float], old: Sequence[float]) -> Difference | None:
    """Compare the means of two groups of at least two results, whose variances may differ.

    Returns None if neither group varies: the noise is then unknown.

    Source: Welch, "The generalization of 'Student's' problem ...", Biometrika 34, 1947.
    """
    if len(set(new)) == len(set(old)) == 1:
        return None
    from scipy.stats import ttest_ind

    with warnings.catch_warnings(action="ignore"):  # about a group that does not vary
        interval = ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    return Difference(fmean(new) - fmean(old), float(interval.low), float(interval.high))


def paired_test(new: Sequence[float], old: Sequence[float]) -> float | None:
    """Return the probability of such a gain, or a larger one, if there were none: a one-sided test.

    At least two pairs of results, of the same seeds. Returns None if all gain the same: the noise
    is then unknown.

    Source: Student, "The probable error of a mean", Biometrika 6, 1908.
    """
    gains = [round(after - before, 12) for after, before in zip(new, old, strict=True)]
    if len(set(gains)) == 1:
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(gains, 0, alternative="greater").pvalue)


def mcnemar_test(old: Sequence[bool], new: Sequence[bool]) -> Paired:
    """Compare two networks by which of the same images they classify right: an exact sign test.

    Source: McNemar, "Note on the sampling error of the difference ...", Psychometrika 12, 1947.
    """
    pairs = list(zip(old, new, strict=True))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    from scipy.stats import binomtest  # refuses a test without trials

    return Paired(gained, lost, binomtest(gained, gained + lost).pvalue if gained + lost else 1.0)
