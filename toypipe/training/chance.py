"""A training that learns nothing: its loss is that of a guess that sees no image."""

from collections.abc import Sequence
from math import log

from toypipe.params.schema import TrainParams
from toypipe.training.state import Epoch

LAST = 3  # epochs at chance in a row that are no slow start any more
HAIR = 0.01  # of the way from a guess to a perfect network; less counts as nothing


def learned_nothing(epochs: Sequence[Epoch], params: TrainParams, counts: Sequence[int]) -> bool:
    """Tell whether the train loss of the last three epochs is that of a constant guess, or worse.

    A loss that still falls, from above it or to below it, is a slow start.

    `counts` are the images of each class. The guess is the same for every image: for cross entropy
    the share of each class, whose loss is the entropy of the shares; for mse the same; for l1 the
    most frequent class. With `sampling: balanced` the shares are equal.
    """
    guess, perfect = _losses(params, counts)
    hair = HAIR * (guess - perfect)
    losses = [epoch.train_loss for epoch in epochs[-LAST:]]
    return len(losses) == LAST and min(losses) > guess - hair and losses[-1] > losses[0] - hair


def _losses(params: TrainParams, counts: Sequence[int]) -> tuple[float, float]:
    """Return the losses of the best constant guess, and of a network that is always right."""
    classes, smoothing = len(counts), params.label_smoothing
    found = [1.0 if params.sampling == "balanced" else float(count) for count in counts]
    shares = [count / sum(found) for count in found]
    match params.loss:
        case "cross_entropy":
            others = smoothing / classes
            label = [1 - smoothing + others, *[others] * (classes - 1)]
            mean = [(1 - smoothing) * share + others for share in shares]
            return _entropy(mean), _entropy(label)
        case "mse":
            return (1 - smoothing) ** 2 * (1 - sum(share**2 for share in shares)), 0.0
        case "l1":
            return 2 * (1 - smoothing) * (1 - max(shares)), 0.0


def _entropy(shares: Sequence[float]) -> float:
    """Return the entropy of probabilities, in nats."""
    return -sum(share * log(share) for share in shares if share > 0)
