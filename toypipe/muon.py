"""Muon for convolution filters: torch's own, shown each filter bank as the matrix that it is."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class FilterMuon(torch.optim.Muon):
    """torch.optim.Muon over filters (out, in, height, width), each seen as (out, in*height*width).

    torch's Muon takes matrices only. Each filter bank is given to it as a matrix that shares its
    memory, so that an update of the one is an update of the other. Muon's update does not care
    about the order of columns, so the memory's own order serves.
    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, filters: Iterable[nn.Parameter], **options: Any) -> None:
        """Args: `filters` in channels_last memory; `options` of torch.optim.Muon."""
        self.filters = list(filters)
        self.matrices = [nn.Parameter(_as_matrix(weight.detach())) for weight in self.filters]
        shared = zip(self.filters, self.matrices, strict=True)
        assert all(weight.data_ptr() == matrix.data_ptr() for weight, matrix in shared)
        super().__init__(self.matrices, **options)
        self.register_step_pre_hook(self._take_gradients)

    def _take_gradients(self, *_: object) -> None:
        for weight, matrix in zip(self.filters, self.matrices, strict=True):
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the filters."""
        super().zero_grad(set_to_none)
        for weight in self.filters:
            weight.grad = None


def _as_matrix(filters: Tensor) -> Tensor:
    """View filters as a matrix (out, height*width*in); no copy where they are channels_last."""
    return filters.permute(0, 2, 3, 1).flatten(1)
