"""Random streams: decided by seed, purpose and epoch, and by nothing else."""

import itertools
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toypipe.compute.seeding import Purpose, derive_seed, make_generator


@pytest.mark.parametrize(
    ("seed", "purpose", "epoch", "expected"),
    [(0, "order", 0, 0x16DC6065975C4B84 >> 1), (7, "flip", 3, 0x1AFF67B95C04ABBB >> 1)],
)
def test_a_seed_never_changes_between_versions(
    seed: int, purpose: Purpose, epoch: int, expected: int
) -> None:
    """It is the first 63 bits that `printf '0 order 0' | sha256sum` prints."""
    assert derive_seed(seed, purpose, epoch) == expected


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.sampled_from(get_args(Purpose)), st.integers(0, 100_000))
def test_every_seed_is_one_that_torch_takes(seed: int, purpose: Purpose, epoch: int) -> None:
    """Whatever the parameters allow, the derived seed lies in 0..2**63-1."""
    assert 0 <= derive_seed(seed, purpose, epoch) < 2**63


def test_no_two_streams_are_the_same() -> None:
    """Another seed, purpose or epoch is another stream."""
    streams = list(itertools.product(range(12), get_args(Purpose), range(12)))

    assert len({derive_seed(*each) for each in streams}) == len(streams)


def test_a_stream_starts_afresh_each_time() -> None:
    """Nothing is carried over from an earlier stream, nor from torch's global generator."""
    first = torch.rand(5, generator=make_generator(1, "order", 2))
    torch.manual_seed(99)

    assert torch.equal(torch.rand(5, generator=make_generator(1, "order", 2)), first)


def test_a_stream_leaves_the_global_generator_alone() -> None:
    """Drawing from a stream does not move anything else that is random."""
    before = torch.get_rng_state()
    torch.rand(5, generator=make_generator(0, "weights"))

    assert torch.equal(torch.get_rng_state(), before)
