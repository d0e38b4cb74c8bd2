"""Measure a network: predictions, accuracy with its interval, figures for each class."""

from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toypipe.compute import distributed
from toypipe.compute.devices import explained
from toypipe.data.split import Split, StoredSplit
from toypipe.data.stored import StoredImages
from toypipe.errors import ToypipeError
from toypipe.evaluation.statistics import wilson_interval
from toypipe.networks.checkpoint import Classifier
from toypipe.params.schema import EvaluateParams


class Metrics(NamedTuple):
    """How well a network classifies images that it was not trained on: test.json."""

    accuracy: float  # share of the images that are classified right, 0..1
    accuracy_low: float  # lower end of the 95 % interval of the accuracy
    accuracy_high: float  # upper end of it
    loss: float  # unsmoothed cross entropy in nats, mean over the images, whatever was trained
    balanced_accuracy: float  # mean recall over the classes that have images, 0..1


class ClassMetrics(NamedTuple):
    """How well a network does on one class: a row of per_class.csv."""

    name: str  # the class
    precision: float  # share of this class among the images predicted as it; 0 if there are none
    recall: float  # share of the images of this class that are predicted as it; 0 if there are none
    f1: float  # harmonic mean of the two; 0 if both are
    support: int  # images of this class


class Mistake(NamedTuple):
    """An image that is classified wrong."""

    image: int  # its position among the images
    actual: int  # number of its class
    predicted: int  # number of the class that the network predicted
    probability: float  # the network's probability for the predicted class, 0..1


def classify(classifier: Classifier, split: Split | StoredSplit, params: EvaluateParams) -> Tensor:
    """Return the logits for the images of a split: `predict`, on the network's device.

    Raises ToypipeError if the network is for another size or other classes, or memory runs out.
    """
    if (classifier.size, classifier.classes) != (split.size, split.classes):
        raise ToypipeError(
            f"the checkpoint is for {classifier.size}-pixel images of"
            f" {', '.join(classifier.classes)}, but the test images have {split.size} pixels and"
            f" are of {', '.join(split.classes)}: run `toypipe train` (or `dvc repro`) again"
        )
    with explained("evaluate.batch_size", params.batch_size):
        return predict(
            classifier.model,
            split.images,
            batch_size=params.batch_size,
            views=params.views,
            bfloat16=params.precision == "bfloat16",
        )


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Tensor | StoredImages,
    *,
    batch_size: int,
    views: int,
    bfloat16: bool = False,
) -> Tensor:
    """Return the mean of the logits over some views of each image.

    The model is in evaluation mode; the images, uint8 of shape (N, 3, size, size) in channels_last
    memory, are brought to its device. One view is the image, two add its mirror image, six add both
    shifted by a pixel up and left, and down and right. With `bfloat16`, the network computes in it
    where that is safe. Several processes share the work.

    Returns float32 of shape (N, classes), on the CPU.
    """
    device = next(model.parameters()).device

    def classified(start: int) -> Tensor:
        batch = images[start : start + batch_size].to(device)
        return torch.stack([model(view).float() for view in _views(batch, views)]).mean(0)

    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        logits = distributed.map_batches(range(0, len(images), batch_size), classified)
    return logits.cpu()  # once: each copy waits for the device


def _views(images: Tensor, views: int) -> Iterator[Tensor]:
    for side in (images, images.flip(3)) if views > 1 else (images,):
        for shift in (0, -1, 1) if views == 6 else (0,):
            yield _shifted(side, shift)


def _shifted(images: Tensor, pixels: int) -> Tensor:
    """Move the window down and right; beyond the border it shows the reflected image."""
    if pixels == 0:
        return images
    last = images.shape[-1] - 1
    seen = torch.arange(last + 1, device=images.device) + pixels
    seen = last - (last - seen.abs()).abs()
    shifted = images.index_select(2, seen).index_select(3, seen)
    return shifted.contiguous(memory_format=torch.channels_last)


def measure(logits: Tensor, split: Split | StoredSplit) -> Metrics:
    """Compare logits, float32 of shape (N, classes) on the CPU, with the labels."""
    labels, predicted = split.labels.cpu(), logits.argmax(1)
    right = int((predicted == labels).sum())
    low, high = wilson_interval(right, len(labels))
    loss = float(F.cross_entropy(logits, labels))
    balanced = balanced_accuracy(per_class(predicted, split))
    return Metrics(right / len(labels), low, high, loss, balanced)


def confusion(predicted: Tensor, split: Split | StoredSplit) -> Tensor:
    """Count how often each class is predicted for each class: int64 of shape (classes, classes).

    It has a row for each actual and a column for each predicted class. The predicted class numbers
    are int64 of shape (N,), on the CPU.
    """
    classes = len(split.classes)
    pairs = split.labels.cpu() * classes + predicted
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def confident_mistakes(logits: Tensor, split: Split | StoredSplit, count: int) -> list[Mistake]:
    """Return up to `count` mistakes, those with the highest probability first.

    The logits are float32 of shape (N, classes), on the CPU.
    """
    labels = split.labels.cpu()
    probabilities, predicted = logits.double().softmax(1).max(1)
    wrong = (predicted != labels).nonzero().flatten()
    order = probabilities[wrong].argsort(descending=True, stable=True)
    return [
        Mistake(i, int(labels[i]), int(predicted[i]), float(probabilities[i]))
        for i in wrong[order][:count].tolist()
    ]


def per_class(predicted: Tensor, split: Split | StoredSplit) -> list[ClassMetrics]:
    """Compare predicted class numbers, int64 of shape (N,), with the labels, class by class."""
    counts = confusion(predicted, split)
    hits, called, support = counts.diag(), counts.sum(0), counts.sum(1)
    rows = zip(split.classes, hits.tolist(), called.tolist(), support.tolist(), strict=True)
    return [
        ClassMetrics(name, _ratio(hit, call), _ratio(hit, have), _ratio(2 * hit, call + have), have)
        for name, hit, call, have in rows
    ]


def balanced_accuracy(classes: list[ClassMetrics]) -> float:
    """Return the mean recall of the classes that have images: each counts the same."""
    return fmean(each.recall for each in classes if each.support > 0)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
