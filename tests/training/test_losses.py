"""Losses: by hand, against torch, and by training with them."""

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from synthetic import make_split, make_train_params
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.params.schema import LossName
from toypipe.training.loop import begin, train
from toypipe.training.losses import LOSSES, l1, one_hot
from toypipe.training.state import Epoch


def test_every_loss_of_the_parameters_is_there() -> None:
    """The names of losses in the schema are exactly those of the functions."""
    assert set(LOSSES) == set(get_args(LossName))


def test_the_lesson_gets_its_values() -> None:
    """Torch's L1 and MSE, on which ours are built, give the tutorial's 0.6667 and 1.3333."""
    inputs, targets = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])

    assert F.l1_loss(inputs, targets).item() == pytest.approx(0.6667, abs=5e-5)
    assert F.mse_loss(inputs, targets).item() == pytest.approx(1.3333, abs=5e-5)


@pytest.mark.parametrize(
    ("smoothing", "expected"),
    [
        (0.0, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        (0.3, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]),
    ],
)
def test_one_hot_by_hand(smoothing: float, expected: list[list[float]]) -> None:
    """With three classes, smoothing of 0.3 leaves 0.7 with the label and adds 0.1 to each class."""
    targets = one_hot(torch.tensor([2, 0]), 3, smoothing)

    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets, torch.tensor(expected))


@pytest.mark.parametrize(
    ("name", "smoothing", "expected"),
    [
        ("cross_entropy", 0.0, (-math.log(5 / 8) - math.log(3 / 8)) / 2),
        (
            "cross_entropy",
            0.3,
            # 0.1 of ln 1/8 and of ln 2/8 and 0.8 of ln 5/8; 0.8 and 0.1 of ln 3/8, 0.1 of ln 2/8
            -(0.1 * math.log(2 / 64) + 0.8 * math.log(5 / 8)) / 2
            - (0.9 * math.log(3 / 8) + 0.1 * math.log(2 / 8)) / 2,
        ),
        # 1/8 + 2/8 + 3/8 and 5/8 + 3/8 + 2/8
        ("l1", 0.0, (6 / 8 + 10 / 8) / 2),
        # 1/40 + 6/40 + 7/40 and 17/40 + 11/40 + 6/40
        ("l1", 0.3, (14 / 40 + 34 / 40) / 2),
    ],
)
def test_a_loss_of_probabilities_by_hand(name: LossName, smoothing: float, expected: float) -> None:
    """For probabilities in eighths and the labels 2 and 0, it is the mean over the two images."""
    logits = torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]).log()
    targets = one_hot(torch.tensor([2, 0]), 3, smoothing)

    assert LOSSES[name](logits, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("smoothing", "expected"),
    [
        # 1 + 4 + 16 and 0 + 1 + 9
        (0.0, (21 + 10) / 2),
        # 0.81 + 3.61 + 17.64 and 0.04 + 0.81 + 8.41
        (0.3, (22.06 + 9.26) / 2),
    ],
)
def test_mse_by_hand(smoothing: float, expected: float) -> None:
    """It is the squared error of the logits: a sum over classes, a mean over the two images."""
    logits = torch.tensor([[1.0, 2.0, 5.0], [1.0, 1.0, 3.0]])
    targets = one_hot(torch.tensor([2, 0]), 3, smoothing)

    assert LOSSES["mse"](logits, targets).item() == pytest.approx(expected)


@settings(deadline=None)
@given(smoothing=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 999))
def test_smoothing_is_that_of_torch(smoothing: float, seed: int) -> None:
    """Smoothed labels give the loss of F.cross_entropy(label_smoothing=)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 5, generator=generator)
    labels = torch.randint(0, 5, (6,), generator=generator)
    targets = one_hot(labels, 5, smoothing)

    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(LOSSES["cross_entropy"](logits, targets), expected)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))


def test_l1_is_between_zero_and_two() -> None:
    """A certain right prediction costs 0; a certain wrong one costs 2."""
    sure = torch.tensor([[100.0, 0.0, 0.0]])

    assert l1(sure, one_hot(torch.tensor([0]), 3)).item() == pytest.approx(0)
    assert l1(sure, one_hot(torch.tensor([1]), 3)).item() == pytest.approx(2)


@pytest.mark.parametrize(("name", "lr"), [("cross_entropy", 0.1), ("mse", 0.01), ("l1", 0.1)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_loss_teaches(name: LossName, lr: float, smoothing: float) -> None:
    """With a suitable rate, each loss leads to all training images being classified right."""
    split = make_split(48, size=8)
    params = make_train_params(
        "train.epochs=15",
        f"train.loss={name}",
        f"train.label_smoothing={smoothing}",
        f"train.optimizer.lr={lr}",
    )
    normalize = build_normalize("standard", split.images)
    model = build_model(params.model, Shape(8, 3), normalize, seed=0)
    epochs = [
        event
        for event in train(begin(model, params), split, split, params)
        if isinstance(event, Epoch)
    ]

    assert epochs[-1].train_loss < 0.8 * epochs[0].train_loss
    assert epochs[-1].validation_accuracy == 1
