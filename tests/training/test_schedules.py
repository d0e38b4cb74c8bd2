"""Schedules, against torch's own and by hand."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler

from toypipe.params.schema import Constant, Falling
from toypipe.training.schedules import rate_factor

STEPS = 11
PER_EPOCH = 4


def _factors(params: Constant | Falling, steps: int = STEPS) -> list[float]:
    return [rate_factor(params, step, steps, PER_EPOCH) for step in range(steps)]


def _torch_factors(scheduler: LRScheduler, steps: int = STEPS) -> list[float]:
    factors = []
    for _ in range(steps):
        factors.append(float(scheduler.get_last_lr()[0]))
        scheduler.optimizer.step()
        scheduler.step()
    return factors


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def test_constant_stays() -> None:
    """Without a schedule the rate is the optimizer's at every step."""
    assert _factors(Constant(name="constant")) == [1.0] * STEPS


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_linear_is_that_of_torch(final: float) -> None:
    """Without a warm-up it is LinearLR from 1 to `final`, reached at the last step."""
    expected = LinearLR(_optimizer(), 1.0, final, total_iters=STEPS - 1)
    ours = _factors(Falling(name="linear", warmup_epochs=0.0, final=final))

    assert ours == pytest.approx(_torch_factors(expected), abs=1e-12)


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine_is_that_of_torch(final: float) -> None:
    """Without a warm-up it is CosineAnnealingLR from 1 to `final`, reached at the last step."""
    expected = CosineAnnealingLR(_optimizer(), T_max=STEPS - 1, eta_min=final)
    ours = _factors(Falling(name="cosine", warmup_epochs=0.0, final=final))

    assert ours == pytest.approx(_torch_factors(expected), abs=1e-12)


def test_a_warm_up_by_hand() -> None:
    """The factor rises to 1 in one epoch of four steps, then falls in a line to a fifth."""
    schedule = Falling(name="linear", warmup_epochs=1.0, final=0.2)

    assert _factors(schedule, 8) == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_after_its_warm_up_a_cosine_is_that_of_torch() -> None:
    """The cosine starts at the last step of the warm-up."""
    schedule = Falling(name="cosine", warmup_epochs=0.75, final=0.1)
    expected = CosineAnnealingLR(_optimizer(), T_max=8, eta_min=0.1)

    ours = _factors(schedule)
    assert ours[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert ours[2:] == pytest.approx(_torch_factors(expected, 9), abs=1e-12)


@settings(deadline=None)
@given(
    name=st.sampled_from(["linear", "cosine"]),
    warmup=st.floats(0, 100),
    final=st.floats(0, 1),
    steps=st.integers(2, 200),
    per_epoch=st.integers(1, 50),
)
def test_a_factor_is_a_share_of_the_rate(
    name: Literal["linear", "cosine"], warmup: float, final: float, steps: int, per_epoch: int
) -> None:
    """Factors are in 0..1, rise to 1 and then fall, and the last one is `final`."""
    schedule = Falling(name=name, warmup_epochs=warmup, final=final)
    factors = [rate_factor(schedule, step, steps, per_epoch) for step in range(steps)]
    peak = factors.index(max(factors))

    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) == 1
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] == pytest.approx(final, abs=1e-12)
