"""Whitening: fixed filters that make the pixels of a small patch uncorrelated, of equal variance.

Neighbouring pixels are nearly equal, so that a patch varies in brightness and in little else.
Whitening stretches what is left, edges and colours, to the same size, and the network need not
learn to (Page, "How to train your ResNet 8", 2019; as fixed filters of both signs: Jordan, "94% on
CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, who counts 21 epochs with it instead of 45).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 2  # pixels, in width and height
IMAGES = 1000  # their patches are a million
FLOOR = 5e-4  # added to each variance, so that noise is not blown up


class Whitening(nn.Conv2d):
    """A convolution whose filters come from images, not from training; in the checkpoint as such.

    Each direction has two filters, of either sign: what an activation cuts off of the one it
    leaves of the other.
    """

    def __init__(self, channels: int = 3) -> None:
        """Hold the place of filters that `fit` or a checkpoint sets."""
        super().__init__(channels, 2 * channels * PATCH**2, PATCH, bias=False)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the filters.

        Args:
            images: As this layer will see them, normalised: float32 of shape (n, channels, h, w).
        """
        patches = F.unfold(images, PATCH).transpose(1, 2).flatten(0, 1)
        variances, directions = torch.linalg.eigh((patches.T @ patches / len(patches)).double())
        filters = (directions / (variances + FLOOR).sqrt()).T.view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))


def fit_whitening(model: nn.Module, images: Tensor) -> None:
    """Set the whitening filters of a network from its training images; without such, do nothing.

    Args:
        model: Of `build_model`, on the CPU.
        images: uint8 of shape (N, 3, size, size); the first thousand are enough.
    """
    for layer in model.modules():
        if isinstance(layer, Whitening):
            layer.fit(model.get_submodule("normalize")(images[:IMAGES]))
