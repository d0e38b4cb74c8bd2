"""McNemar's exact test, against SciPy and by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from toypipe.evaluation.mcnemar import Paired, compare


def outcomes(gained: int, lost: int, both: int = 0) -> tuple[list[bool], list[bool]]:
    """Return whether each of two networks is right, image by image."""
    old = [False] * gained + [True] * (lost + both)
    new = [True] * gained + [False] * lost + [True] * both
    return old, new


def test_by_hand() -> None:
    """One loss in six images that tell: 2 (1 + 6) of the 64 ways to split them are as uneven."""
    assert compare(*outcomes(gained=5, lost=1, both=9)) == Paired(5, 1, 14 / 64)


@pytest.mark.parametrize("both", [0, 7])
def test_equal_networks_do_not_differ(both: int) -> None:
    """Where no image tells, or as many for either, the probability is 1."""
    assert compare(*outcomes(0, 0, both)).p_value == 1
    assert compare(*outcomes(4, 4, both)).p_value == 1


@given(st.integers(0, 400), st.integers(0, 400))
def test_it_is_the_sign_test_of_scipy(gained: int, lost: int) -> None:
    """On the images that tell, it is SciPy's two-sided binomial test of a fair coin."""
    if gained + lost:
        expected = binomtest(gained, gained + lost).pvalue
        assert compare(*outcomes(gained, lost)).p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(2400, 2600), (5000, 5100), (9000, 300)])
def test_thousands_of_images_are_no_harder(gained: int, lost: int) -> None:
    """Binomial coefficients beyond a float's range are no obstacle; the least value is 0."""
    expected = binomtest(gained, gained + lost).pvalue
    assert compare(*outcomes(gained, lost)).p_value == pytest.approx(expected, rel=1e-9)


def test_the_order_of_the_networks_does_not_matter() -> None:
    """Exchanged, gains are losses, and the probability is the same."""
    old, new = outcomes(12, 5, 3)
    there, back = compare(old, new), compare(new, old)

    assert (back.gained, back.lost, back.p_value) == (there.lost, there.gained, there.p_value)


def test_other_images_are_not_compared() -> None:
    """Pairs need the same images: another number of them is refused."""
    with pytest.raises(ValueError, match="longer"):
        compare([True], [True, False])
