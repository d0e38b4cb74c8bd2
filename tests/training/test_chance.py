"""A training that has learned nothing is told from one that learns."""

import math

import pytest
import torch

from synthetic import make_train_params
from toypipe.params.schema import LossName, TrainParams
from toypipe.training.chance import learned_nothing
from toypipe.training.losses import LOSSES, one_hot
from toypipe.training.state import Epoch

COUNTS = [50, 30, 20]
SHARES = torch.tensor(COUNTS) / 100


def params(loss: LossName = "cross_entropy", smoothing: float = 0.0) -> TrainParams:
    """Return the default parameters with this loss."""
    return make_train_params(f"train.loss={loss}", f"train.label_smoothing={smoothing}")


def epochs(*losses: float) -> list[Epoch]:
    """Return epochs with these train losses."""
    return [Epoch(i + 1, loss, None, None, 0.1) for i, loss in enumerate(losses)]


def loss_of_guess(loss: LossName, smoothing: float) -> float:
    """Return torch's loss, over a hundred images, of the best answer that is always the same."""
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    targets = one_hot(labels, 3, smoothing)
    mean = (1 - smoothing) * SHARES + smoothing / 3
    guess = {
        "cross_entropy": mean.log(),
        "mse": mean,
        "l1": one_hot(labels[:1], 3, smoothing).log(),
    }
    return float(LOSSES[loss](guess[loss].clamp(min=-1e4).expand(100, 3), targets))


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "l1"])
def test_the_loss_of_a_constant_guess_is_nothing_learned(loss: LossName, smoothing: float) -> None:
    """For every loss, the limit lies within a hair below the loss of the best constant guess."""
    chance = loss_of_guess(loss, smoothing)

    assert learned_nothing(epochs(*[chance + 1e-6] * 3), params(loss, smoothing), COUNTS)
    assert learned_nothing(epochs(*[chance + 1] * 3), params(loss, smoothing), COUNTS)
    assert not learned_nothing(epochs(*[0.98 * chance] * 3), params(loss), COUNTS) or smoothing


def test_six_equal_classes_have_a_chance_of_ln_6() -> None:
    """The loss that a photographer saw from epoch 11 on."""
    assert learned_nothing(epochs(1.5, 1.7, *[math.log(6)] * 3), params(), [100] * 6)
    assert not learned_nothing(epochs(1.5, 1.7, *[1.75] * 3), params(), [100] * 6)


def test_a_perfect_network_has_learned_even_from_soft_labels() -> None:
    """With much smoothing a guess is nearly as good, but not quite."""
    labels = torch.arange(3)
    targets = one_hot(labels, 3, 0.9)
    perfect = float(LOSSES["cross_entropy"](targets.log(), targets))

    assert not learned_nothing(epochs(*[perfect] * 3), params(smoothing=0.9), COUNTS)


def test_classes_that_count_the_same_have_equal_shares() -> None:
    """With balanced weights the chance is that of equal classes."""
    balanced = params().model_copy(update={"sampling": "balanced"})

    assert learned_nothing(epochs(*[math.log(3)] * 3), balanced, COUNTS)
    assert not learned_nothing(epochs(*[loss_of_guess("cross_entropy", 0)] * 3), balanced, COUNTS)


def test_a_slow_start_is_no_reason_to_worry() -> None:
    """Two epochs at chance, three that are over, or a loss that falls: nothing to warn of."""
    chance = loss_of_guess("cross_entropy", 0.0)

    assert not learned_nothing(epochs(chance, chance), params(), COUNTS)
    assert not learned_nothing(epochs(chance + 0.1, chance + 0.05, chance), params(), COUNTS)
    assert not learned_nothing(epochs(chance, chance, chance, 0.9 * chance), params(), COUNTS)
