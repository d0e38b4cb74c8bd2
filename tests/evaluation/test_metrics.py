"""Evaluation, against scikit-learn, SciPy and torch, and by hand."""

import math
import warnings
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)
from torch import Tensor, nn

from synthetic import make_split
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.evaluation.metrics import (
    classify,
    confident_mistakes,
    confusion,
    measure,
    per_class,
    predict,
)
from toypipe.evaluation.statistics import wilson_interval
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier
from toypipe.networks.normalize import build_normalize
from toypipe.params.schema import EvaluateParams, Toy

SPLIT = make_split(20)


def _model(split: Split = SPLIT) -> nn.Module:
    normalize = build_normalize("standard", split.images)
    shape = Shape(split.size, len(split.classes))
    return build_model(Toy(name="toy"), shape, normalize, seed=0).eval()


def _labelled(labels: list[int], classes: int) -> Split:
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    return Split(images, torch.tensor(labels), [f"class{i}" for i in range(classes)])


def test_accuracy_and_loss_are_those_of_scikit_learn_and_torch() -> None:
    """The most probable class counts; the loss is the mean cross entropy in nats, unsmoothed."""
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    metrics = measure(logits, SPLIT)

    assert metrics.accuracy == accuracy_score(SPLIT.labels, logits.argmax(1))
    assert metrics.loss == pytest.approx(F.cross_entropy(logits, SPLIT.labels).item())
    right = int((logits.argmax(1) == SPLIT.labels).sum())
    assert (metrics.accuracy_low, metrics.accuracy_high) == wilson_interval(right, 20)


@pytest.mark.parametrize("actual", [[0, 0, 0, 0, 1, 2], [0, 0, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1]])
def test_balanced_accuracy_is_that_of_scikit_learn(actual: list[int]) -> None:
    """It is the mean recall; a class without test images does not count."""
    logits = F.one_hot(torch.tensor([0, 0, 1, 2, 1, 2]), 3).float()
    metrics = measure(logits, _labelled(actual, 3))

    with warnings.catch_warnings(action="ignore"):  # of classes that are only predicted
        expected = balanced_accuracy_score(actual, logits.argmax(1))
    assert metrics.balanced_accuracy == pytest.approx(expected)


def test_the_loss_by_hand() -> None:
    """The right class has probability one half for the first image, a quarter for the second."""
    logits = torch.tensor([[0.0, 0.0], [math.log(1), math.log(3)]])
    metrics = measure(logits, _labelled([1, 0], 2))

    assert metrics.loss == pytest.approx((math.log(2) + math.log(4)) / 2)


@pytest.mark.parametrize(
    ("actual", "predicted", "classes"),
    [
        ([0, 1, 2, 0, 1, 2, 2], [0, 2, 2, 1, 1, 0, 2], 3),
        ([0, 1, 2, 2], [0, 1, 1, 0], 3),  # none is called 2
        ([0, 1, 1, 0], [0, 2, 1, 0], 3),  # none is 2
        ([0, 1, 1, 0], [0, 0, 1, 0], 4),  # 2 and 3 are neither
        ([0, 0], [0, 0], 2),
        ([0, 0, 1], [1, 1, 0], 2),  # nothing is right
    ],
)
def test_figures_of_each_class_are_those_of_scikit_learn(
    actual: list[int], predicted: list[int], classes: int
) -> None:
    """Undefined figures, of a class that is never predicted or has no images, are 0."""
    figures = per_class(torch.tensor(predicted), _labelled(actual, classes))
    expected = precision_recall_fscore_support(
        actual, predicted, labels=range(classes), zero_division=0
    )

    assert [each.name for each in figures] == [f"class{i}" for i in range(classes)]
    ours = np.array([each[1:] for each in figures], dtype=float).T
    np.testing.assert_allclose(ours, np.array(expected, dtype=float), atol=1e-15)


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    """A row for each actual class, also for one that has no images."""
    actual, predicted = [0, 1, 2, 0, 1, 2, 2], [0, 2, 2, 1, 1, 0, 3]

    counts = confusion(torch.tensor(predicted), _labelled(actual, 4))
    assert counts.tolist() == confusion_matrix(actual, predicted, labels=range(4)).tolist()


def test_the_most_confident_mistakes_come_first() -> None:
    """Mistakes are sorted by the probability of the predicted class; ties keep their order."""
    probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.2, 0.8], [0.3, 0.7]]
    logits, split = torch.tensor(probabilities).log(), _labelled([1, 1, 0, 0, 1], 2)

    mistakes = confident_mistakes(logits, split, 3)
    assert [(each.image, each.actual, each.predicted) for each in mistakes] == [
        (0, 1, 0),
        (2, 0, 1),
        (3, 0, 1),
    ]
    assert [each.probability for each in mistakes] == pytest.approx([0.9, 0.8, 0.8])
    assert confident_mistakes(logits[4:], split[torch.tensor([4])], 3) == []


def test_one_view_is_the_image() -> None:
    """With one view, the logits are the network's own, in float32."""
    model = _model()
    logits = predict(model, SPLIT.images, batch_size=20, views=1)

    assert logits.dtype == torch.float32
    assert torch.equal(logits, model(SPLIT.images))


def test_in_bfloat16_the_logits_are_rounded() -> None:
    """The network computes as under autocast; the mean over the views is in float32."""
    model = _model()
    logits = predict(model, SPLIT.images, batch_size=20, views=1, bfloat16=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(SPLIT.images)

    assert expected.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert torch.equal(logits, expected.float())


def test_two_views_are_the_image_and_its_mirror() -> None:
    """Their logits are averaged, before any softmax."""
    model = _model()
    expected = (model(SPLIT.images) + model(SPLIT.images.flip(3))) / 2

    torch.testing.assert_close(predict(model, SPLIT.images, batch_size=20, views=2), expected)


def test_six_views_are_both_sides_in_three_places() -> None:
    """The image and its mirror image, each unshifted and shifted by a pixel in two directions."""
    model = _model()

    def shifted(images: Tensor, by: int) -> Tensor:
        padded = F.pad(images.float(), (1, 1, 1, 1), mode="reflect").to(torch.uint8)
        return padded[:, :, 1 + by : 17 + by, 1 + by : 17 + by]

    sides = (SPLIT.images, SPLIT.images.flip(3))
    expected = sum(model(shifted(side, by)) for side in sides for by in (-1, 0, 1)) / 6

    torch.testing.assert_close(predict(model, SPLIT.images, batch_size=20, views=6), expected)


@pytest.mark.parametrize("views", [1, 2, 6])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_nothing_but_rounding(views: int, batch_size: int) -> None:
    """In batches of any size, the logits agree."""
    model = _model()
    logits = predict(model, SPLIT.images, batch_size=batch_size, views=views)

    expected = predict(model, SPLIT.images, batch_size=20, views=views)
    torch.testing.assert_close(logits, expected)


def test_with_two_views_an_image_and_its_mirror_are_the_same() -> None:
    """An image and its mirror image get the same logits."""
    model, mirrors = _model(), SPLIT.images.flip(3)

    torch.testing.assert_close(
        predict(model, SPLIT.images, batch_size=20, views=2),
        predict(model, mirrors, batch_size=20, views=2),
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_split_is_classified_by_a_network_for_its_images(
    precision: Literal["float32", "bfloat16"],
) -> None:
    """The logits are those of `predict`, with what the parameters say."""
    classifier = Classifier(_model(), Toy(name="toy"), SPLIT.size, SPLIT.classes)
    logits = classify(
        classifier, SPLIT, EvaluateParams(batch_size=20, views=2, precision=precision)
    )
    bfloat16 = precision == "bfloat16"
    expected = predict(_model(), SPLIT.images, batch_size=20, views=2, bfloat16=bfloat16)

    assert torch.equal(logits, expected)


@pytest.mark.parametrize(
    ("size", "classes"), [(32, SPLIT.classes), (SPLIT.size, ["cat", "dog", "toy"])]
)
def test_a_network_for_other_images_is_refused(size: int, classes: list[str]) -> None:
    """The message has the size and the classes of both, and what to do."""
    classifier = Classifier(_model(), Toy(name="toy"), size, classes)
    expected = (
        f"{size}-pixel images of {', '.join(classes)}, .* {SPLIT.size} pixels and are of "
        f"{', '.join(SPLIT.classes)}: run `toypipe train`"
    )
    with pytest.raises(ToypipeError, match=expected):
        classify(classifier, SPLIT, EvaluateParams(batch_size=20, views=1, precision="float32"))
