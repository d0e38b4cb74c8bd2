"""Is one network better than another, or was it luck with the test images?"""

from collections.abc import Sequence
from typing import NamedTuple


class Paired(NamedTuple):
    """Two networks on the same images."""

    gained: int
    """Images that only the new one gets right."""
    lost: int
    """Images that only the old one gets right."""
    p_value: float
    """How likely a split of these at least as uneven is, if both networks are equally good."""


def compare(old: Sequence[bool], new: Sequence[bool]) -> Paired:
    """Compare two networks image by image, by McNemar's exact test.

    Images that both get right, or neither, say nothing about which is better; of the others, each
    network would win half if they were equally good.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", 1947; in its exact form, a sign test.

    Args:
        old: Whether the old network is right, for each image.
        new: The same for the new network and the same images.
    """
    pairs = list(zip(old, new, strict=True))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    return Paired(gained, lost, _two_sided(min(gained, lost), gained + lost))


def _two_sided(fewer: int, trials: int) -> float:
    """Return the chance that a fair coin shows one side at most `fewer` times, or the other."""
    ways = term = 1
    for heads in range(fewer):
        term = term * (trials - heads) // (heads + 1)  # the next binomial coefficient, exactly
        ways += term
    return min(1.0, 2 * ways / (1 << trials))
