"""Learning rate schedules: a factor for each step, computed from the step alone."""

import math

from toypipe.params.schema import Constant, Falling


def rate_factor(params: Constant | Falling, step: int, steps: int, per_epoch: int) -> float:
    """Return the factor by which the optimizer's learning rate is multiplied.

    With a warm-up of W steps, the first W factors are 1/W, 2/W, ... 1. From there to the last
    step the factor falls from 1 to `final`, along a line or half a cosine (Loshchilov & Hutter,
    "SGDR", 2017, equation 5). Steps count from 0; the run has `steps`, an epoch `per_epoch`.
    """
    if isinstance(params, Constant):
        return 1.0
    warmup = min(round(params.warmup_epochs * per_epoch), steps - 1)
    if step < warmup:
        return (step + 1) / warmup
    top = max(warmup - 1, 0)  # the step whose factor is 1
    progress = (step - top) / max(steps - 1 - top, 1)
    fall = 1 - progress if params.name == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return params.final + (1 - params.final) * fall
