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
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for filters in group["params"]:
                if filters.grad is not None:
                    alike.setdefault(filters.shape, []).append(filters)
            for layers in alike.values():
                self._move(layers, group)

    def _move(self, layers: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Move the filters of layers of equal shape: a GPU has more to do at once."""
        lr, rows = group["lr"], len(layers[0])
        shape_factor = math.sqrt(max(1, rows * rows / layers[0].numel()))
        updates = orthogonalize(torch.stack([self._ahead(each, group) for each in layers]))
        for filters, update in zip(layers, updates, strict=True):
            matrix = _as_matrix(filters)
            if group["fixed_norm"]:
                matrix.mul_(math.sqrt(rows) / matrix.norm().clamp(min=1e-7))
            matrix.mul_(1 - lr * group["weight_decay"])
            matrix.sub_(update * (lr * shape_factor))

    def _ahead(self, filters: nn.Parameter, group: dict[str, Any]) -> Tensor:
        """Return the mean gradient as a matrix; with Nesterov momentum, one step further."""
        state, momentum, gradient = self.state[filters], group["momentum"], filters.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(filters)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return _as_matrix(gradient.lerp(mean, momentum) if group["nesterov"] else mean)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return about the nearest semi-orthogonal matrices, by a Newton-Schulz iteration in bfloat16.

    Argument and result are float32 of the same shape (n, rows, columns); the singular values of the
    result are between about 0.5 and 1.5.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.bfloat16().mT if tall else matrices.bfloat16()
    norms = torch.linalg.matrix_norm(wide, keepdim=True)
    wide = wide / norms.clamp(min=1e-7)  # so that no singular value is above 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide.mT if tall else wide).float()


def _as_matrix(filters: Tensor) -> Tensor:
    """View channels_last filters as a matrix (out, height*width*in), without a copy."""
    return filters.permute(0, 2, 3, 1).flatten(1)
