"""Muon for convolution filters: all filters of a layer are one matrix."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from toypipe.training import eager_optim

NEWTON_SCHULZ_STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # small singular values grow fast; large ones stay near 1


class FilterMuon(eager_optim.Optimizer):
    """torch.optim.Muon over filters (out, in, height, width), each seen as (out, in*height*width).

    torch's own accepts only matrices, and only rates that are known on the host, which a captured
    step has not. The order of columns does not matter to Muon, so channels_last memory will do.
    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, filters: Iterable[nn.Parameter], **options: float) -> None:
        """Take filters in channels_last memory, and the fields of `toypipe.params.schema.Muon`.

        With `fixed_norm` a layer's filters are scaled before they move, to the Frobenius norm of
        an update of wide matrices: the square root of their number. The rate is then the share by
        which a step changes them. A batch norm after the layer makes the scale irrelevant.
        """
        super().__init__(filters, options)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move the filters that have a gradient; a closure is not supported."""
        for group in self.param_groups:
            for filters in group["params"]:
                if filters.grad is not None:
                    self._move(filters, filters.grad, group)

    def _move(self, filters: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        state = self.state[filters]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(filters)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(mean, momentum) if group["nesterov"] else mean
        matrix, update = _as_matrix(filters), orthogonalize(_as_matrix(ahead))
        rows, columns = matrix.shape
        if group["fixed_norm"]:
            matrix.mul_(math.sqrt(rows) / matrix.norm().clamp(min=1e-7))
        matrix.mul_(1 - lr * group["weight_decay"])
        matrix.sub_(update * (lr * math.sqrt(max(1, rows / columns))))


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about the nearest semi-orthogonal matrix, by a Newton-Schulz iteration in bfloat16.

    Argument and result are float32 of the same shape; the singular values of the result are
    between about 0.5 and 1.5.
    """
    a, b, c = COEFFICIENTS
    tall = len(matrix) > matrix.shape[1]
    wide = matrix.bfloat16().T if tall else matrix.bfloat16()
    wide = wide / wide.norm().clamp(min=1e-7)  # so that no singular value is above 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide.T if tall else wide).float()


def _as_matrix(filters: Tensor) -> Tensor:
    """View channels_last filters as a matrix (out, height*width*in), without a copy."""
    return filters.permute(0, 2, 3, 1).flatten(1)
