"""The network of CIFAR-10's speed records: whitening filters, then six convolutions.

Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, section 3.
"""

from torch import Tensor, nn

from toypipe.networks.whitening import PATCH, Whitening
from toypipe.params.schema import Speedrun

HEAD = 1 / 9  # scales the first weights of the last layer: all classes start about equally likely


class Peak(nn.Module):
    """The largest value of each channel, wherever in the image it is."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels, height, width) to (N, channels)."""
        return maps.amax((2, 3))


def build_speedrun(params: Speedrun, classes: int) -> nn.Module:
    """Return the network for normalised images of any size from nine pixels up."""
    first: nn.Conv2d = Whitening()
    if not params.whitening:
        first = nn.Conv2d(3, first.out_channels, PATCH, bias=False)
    widths = (first.out_channels, params.width, 4 * params.width, 4 * params.width)
    blocks = [_block(widths[i], widths[i + 1], identity=params.identity) for i in range(3)]
    head = nn.Linear(widths[-1], classes, bias=False)
    head.weight.data *= HEAD
    return nn.Sequential(first, nn.GELU(), *blocks, Peak(), head)


def _block(inputs: int, outputs: int, *, identity: bool) -> nn.Module:
    """Return two convolutions, with a pooling between them that halves the image."""
    first = _convolution(inputs, outputs, identity=identity)
    second = _convolution(outputs, outputs, identity=identity)
    return nn.Sequential(
        first, nn.MaxPool2d(2), _norm(outputs), nn.GELU(), second, _norm(outputs), nn.GELU()
    )


def _convolution(inputs: int, outputs: int, *, identity: bool) -> nn.Conv2d:
    """Return a convolution that keeps the size of the image; the norm after it has the bias."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    if identity:
        nn.init.dirac_(layer.weight.data[:inputs])
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm without a learned scale: the convolution after it can scale.

    It forgets old statistics fast, because a run has only a few hundred steps.
    """
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm
