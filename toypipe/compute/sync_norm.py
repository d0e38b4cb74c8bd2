"""Batch norm over the images of all processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; of each gradient too. torch deprecates its own."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient)


class SyncBatchNorm(nn.BatchNorm2d):
    """What `nn.BatchNorm2d` computes of a batch that is divided among the processes.

    `nn.SyncBatchNorm` does the same on GPUs, but refuses a CPU.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        """Share the parameters and running statistics of a batch norm, which has a momentum."""
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, channels, height, width) to the same shape; n may differ between processes."""
        if not self.training:
            return super().forward(maps)
        values = maps.float()
        ones = values.new_full((1,), values.numel() / self.num_features)
        total = _Sum.apply(torch.cat([values.sum((0, 2, 3)), ones]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight / (variance + self.eps).sqrt()
        normed: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return normed.to(maps.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1
