"""The losses. Each compares logits with target probabilities, and is a mean over images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from toypipe.params.schema import LossName

Loss = Callable[[Tensor, Tensor], Tensor]  # from logits and targets, (N, classes), to a scalar


def one_hot(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Turn class numbers, int64 of shape (N,), into target probabilities, float32 (N, classes).

    `smoothing` is the share in [0, 1) of each label that is spread evenly over all classes
    (Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7).
    """
    hard = labels[:, None] == torch.arange(classes, device=labels.device)
    return hard.float() * (1 - smoothing) + smoothing / classes


def mse(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of the logits: sum over the classes, mean over the images.

    The squared error of the probabilities trains far slower: softmax is flat where it is wrong.
    torch's default, a mean over the classes too, only divides the learning rate by their number.
    """
    return F.mse_loss(logits, targets, reduction="sum") / len(logits)


def l1(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the absolute error of the probabilities, in 0..2: sum over classes, mean over images.

    The absolute error of the logits hardly trains: it is smallest at the median, and the median of
    a one-hot label, class by class, is zero for every image. benchmarks/loss_forms.py compares all
    forms of both losses.
    """
    return F.l1_loss(logits.softmax(1), targets, reduction="sum") / len(logits)


LOSSES: dict[LossName, Loss] = {"cross_entropy": F.cross_entropy, "mse": mse, "l1": l1}
