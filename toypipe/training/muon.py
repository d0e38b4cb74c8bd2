"""Muon for convolution filters, each bank of them taken as the matrix that it is."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from toypipe.training import eager_optim

NEWTON_SCHULZ_STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # steepest at zero; near one they only hover


class FilterMuon(eager_optim.Optimizer):
    """torch.optim.Muon over filters (out, in, height, width), each seen as (out, in*height*width).

    torch's own takes matrices only, and a learning rate that the host knows, which a captured
    step does not have. Muon does not care about the order of columns, so the memory's own serves.
    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(
        self,
        filters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        fixed_norm: bool,
    ) -> None:
        """Take the filters, with the fields of `toypipe.params.schema.Muon`.

        Args:
            filters: In channels_last memory, so that they are matrices without a copy.
            lr: Learning rate.
            momentum: Share of the running mean of the gradient that is kept.
            nesterov: Look ahead along the momentum.
            weight_decay: Shrinks the filters, by this times the rate.
            fixed_norm: Bring each bank, before it moves, to the Frobenius norm that an update of
                wide matrices has, the root of its number of filters: then the rate is the share by
                which a step changes it. Without effect on what a batch norm makes of the filters.
        """
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov}
        super().__init__(
            filters, {**options, "weight_decay": weight_decay, "fixed_norm": fixed_norm}
        )

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move the filters that have a gradient; there is no closure here."""
        for group in self.param_groups:
            for filters in group["params"]:
                if filters.grad is not None:
                    self._step(filters, filters.grad, **group)

    def _step(
        self,
        filters: nn.Parameter,
        gradient: Tensor,
        *,
        lr: float | Tensor,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        fixed_norm: bool,
        **_: Any,
    ) -> None:
        state = self.state[filters]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(filters)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(mean, momentum) if nesterov else mean
        matrix, update = _as_matrix(filters), orthogonalized(_as_matrix(ahead))
        rows, columns = matrix.shape
        if fixed_norm:
            matrix.mul_(math.sqrt(rows) / matrix.norm().clamp(min=1e-7))
        matrix.mul_(1 - lr * weight_decay)
        matrix.sub_(update * (lr * math.sqrt(max(1, rows / columns))))


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return nearly the closest semi-orthogonal matrix, by a Newton-Schulz iteration in bfloat16.

    Args:
        matrix: float32 of shape (rows, columns).

    Returns:
        float32 of the same shape; its singular values lie between about 0.5 and 1.5.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.bfloat16() if len(matrix) <= matrix.shape[1] else matrix.bfloat16().T
    wide = wide / wide.norm().clamp(min=1e-7)  # so that no singular value is above 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide if len(matrix) <= matrix.shape[1] else wide.T).float()


def _as_matrix(filters: Tensor) -> Tensor:
    """View filters as a matrix (out, height*width*in); no copy where they are channels_last."""
    return filters.permute(0, 2, 3, 1).flatten(1)
