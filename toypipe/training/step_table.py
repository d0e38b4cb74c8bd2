"""What each step of an epoch takes and leaves: the factor of its learning rates, and its loss.

A captured step cannot ask the host which one it is. On CUDA it counts itself, and finds its factor
in the device's memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class StepTable:
    """The table of one epoch after the other, in memory that is never replaced."""

    def __init__(self, longest: int, device: torch.device) -> None:
        """Make room for an epoch of so many steps at most."""
        self._losses = torch.zeros(longest, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)
        self._on_cuda = device.type == "cuda"
        if self._on_cuda:
            self._factors_there = torch.zeros(longest, dtype=torch.float64, device=device)

    def start(self, factors: Sequence[float], losses: Tensor, taken: int) -> Tensor:
        """Start an epoch, or resume it after so many steps.

        Takes the factors of its steps, and the losses of those that were taken: float32 of shape
        (steps,). Returns them in the table, where those of the steps to come appear.
        """
        self._factors, self._taken_here = factors, taken
        if self._on_cuda:
            self._factors_there[: len(factors)] = torch.tensor(factors, dtype=torch.float64)
        self._taken.fill_(taken)
        self._losses[: len(losses)] = losses
        return self._losses[: len(losses)]

    def factor(self) -> float | Tensor:
        """Return the factor of the next step: on CUDA a float64 scalar, which need not be read."""
        if self._on_cuda:
            return torch.take(self._factors_there, self._taken[0])
        return self._factors[self._taken_here]

    def put(self, loss: Tensor) -> None:
        """Note the loss of a step, a scalar: the step is taken."""
        self._losses.index_copy_(0, self._taken, loss.view(1))
        self._taken += 1
        self._taken_here += 1
