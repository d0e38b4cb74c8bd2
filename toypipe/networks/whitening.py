"""Whitening: fixed filters that make the pixels of a small patch uncorrelated, of equal variance.

Neighbouring pixels are nearly equal, so patches differ mostly in brightness. Whitening amplifies
the rest, edges and colours, to the same variance, so the network need not learn to (Page, "How to
train your ResNet 8", 2019; as fixed filters of both signs: Jordan, "94% on CIFAR-10 in 3.29
Seconds on a Single GPU", 2024, who needs 21 epochs with it instead of 45).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toypipe.data.stored import StoredImages

PATCH = 2  # pixels, in width and height
IMAGES = 1000  # images to fit the filters to: about a million patches
FLOOR = 5e-4  # added to each variance, so that noise is not amplified
BIAS = 1.0  # of every filter, in standard deviations of what it passes on


class Whitening(nn.Conv2d):
    """A convolution that is not trained: `fit` or a checkpoint sets its filters.

    Each direction has two filters of opposite sign: an activation function passes one of them. The
    bias of all is 1. Most biases that are trained for three epochs, as Jordan's are, end near it,
    and are worth no more (docs/recipes.md); one that stays needs no gradient of so large a layer.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__(channels, 2 * channels * PATCH**2, PATCH)
        assert self.bias is not None
        nn.init.constant_(self.bias, BIAS)
        self.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the filters from normalised images: float32 of shape (n, channels, h, w)."""
        patches = F.unfold(images, PATCH).transpose(1, 2).flatten(0, 1)
        # On the CPU, which needs no time for so small a matrix.
        moments = (patches.T @ patches / len(patches)).double().cpu()
        variances, directions = torch.linalg.eigh(moments)
        filters = (directions / (variances + FLOOR).sqrt()).T.view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))


def fit_whitening(model: nn.Module, images: Tensor | StoredImages) -> None:
    """Set the whitening filters of a network, if it has any, from its training images.

    The images are uint8 of shape (N, 3, size, size), on any device; the first thousand are used.
    """
    for layer in model.modules():
        if isinstance(layer, Whitening):
            first = images[:IMAGES].to(layer.weight.device)
            layer.fit(model.get_submodule("normalize")(first))
