"""From stored pixels to the numbers a network computes with: the first layer of every network."""

from typing import Literal

import torch
from torch import Tensor, nn

from toypipe.data.stored import StoredImages

PART = 256  # images to count at once: torch counts in integers that are eight times as large


class Normalize(nn.Module):
    """Scale and shift each channel. The numbers are buffers, so that the checkpoint has them."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """Take mean and standard deviation per channel, shape (3,), of pixels in 0..1."""
        super().__init__()
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / deviation).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 of shape (N, 3, size, size) to float32 of the same shape."""
        return images.to(torch.float32).mul_(self.scale).add_(self.shift)


def build_normalize(kind: Literal["unit", "standard"], images: Tensor | StoredImages) -> Normalize:
    """Return the first layer for images of shape (N, 3, size, size), uint8 on the CPU.

    `unit` maps 0..255 to 0..1. `standard` gives each channel mean 0 and deviation 1 over the
    images, but does not amplify a channel that hardly varies.
    """
    if kind == "unit":
        return Normalize(torch.zeros(3), torch.ones(3))
    # A byte has only 256 values: counting them is exact, and needs no copy in float.
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for start in range(0, len(images), PART):
        part = images[start : start + PART]
        for channel in range(3):
            counts[channel] += torch.bincount(part[:, channel].flatten(), minlength=256)
    shares = counts / counts.sum(1, keepdim=True).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ values
    deviation = ((shares * (values - mean[:, None]) ** 2).sum(1)).sqrt().clamp(min=1 / 255)
    return Normalize(mean.float(), deviation.float())
