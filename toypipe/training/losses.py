"""The losses. Each compares logits with one-hot labels, soft or hard, and is a mean over images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from toypipe.params.schema import LossName

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (N, classes) and target probabilities (N, classes) to a scalar."""


def one_hot(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Turn class numbers into target probabilities.

    Args:
        labels: int64 of shape (N,), values 0..classes-1.
        classes: Number of classes.
        smoothing: Share in [0, 1) of each label that is spread evenly over all classes
            (Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7).

    Returns:
        float32 of shape (N, classes); each row sums to one.
    """
    hard = labels[:, None] == torch.arange(classes, device=labels.device)
    return hard.float() * (1 - smoothing) + smoothing / classes


def mse(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of the logits: summed over the classes, mean over the images.

    Of the probabilities it trains far slower: softmax flattens where it is wrong. Averaged over
    the classes too, as torch does by default, it is a learning rate divided by their number.
    """
    return F.mse_loss(logits, targets, reduction="sum") / len(logits)


def l1(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the absolute error of the probabilities: summed over the classes, mean over images.

    It lies in [0, 2]. Of the logits it hardly trains: absolute error is smallest at the median,
    and the median of a one-hot label, class by class, is zero whatever the image shows.
    benchmarks/loss_forms.py compares all forms of both.
    """
    return F.l1_loss(logits.softmax(1), targets, reduction="sum") / len(logits)


LOSSES: dict[LossName, Loss] = {"cross_entropy": F.cross_entropy, "mse": mse, "l1": l1}
