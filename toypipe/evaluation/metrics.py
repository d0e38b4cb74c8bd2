"""Measure a network: predictions, accuracy with its interval, figures for each class."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toypipe.compute import distributed
from toypipe.compute.devices import explained
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.evaluation.statistics import wilson_interval
from toypipe.networks.checkpoint import Classifier


class Metrics(NamedTuple):
    """How well a network does on images it has never seen: test.json."""

    accuracy: float
    """Share of the images that are classified right, 0..1."""
    accuracy_low: float
    """Lower end of the 95 % interval of the accuracy."""
    accuracy_high: float
    """Upper end of it."""
    loss: float
    """Cross entropy in nats, unsmoothed, mean over the images, whatever loss was trained."""


class ClassMetrics(NamedTuple):
    """How well a network does on one class: a row of per_class.csv."""

    name: str
    """The class."""
    precision: float
    """Of the images called so, the share that is; 0 where none is called so."""
    recall: float
    """Of the images that are so, the share that is called so; 0 where there are none."""
    f1: float
    """Harmonic mean of the two; 0 where both are."""
    support: int
    """Images of this class."""


class Mistake(NamedTuple):
    """An image that is classified wrong."""

    image: int
    """Its place among the images."""
    actual: int
    """Number of its class."""
    predicted: int
    """Number of the class that it was taken for."""
    probability: float
    """That the network gave to the class it chose, 0..1."""


def classify(classifier: Classifier, split: Split, *, batch_size: int, views: int) -> Tensor:
    """Return the logits of a network for images, computed on the network's device.

    Args:
        classifier: In evaluation mode.
        split: The images, on any device.
        batch_size: Images per forward pass.
        views: As for `predict`.

    Returns:
        float32 of shape (N, classes), on the CPU.

    Raises:
        ToypipeError: The network is for images of another size or of other classes.
    """
    if (classifier.size, classifier.classes) != (split.size, split.classes):
        raise ToypipeError(
            f"the checkpoint is for {classifier.size}-pixel images of"
            f" {', '.join(classifier.classes)}, but the test images have {split.size} pixels and"
            f" are of {', '.join(split.classes)}: run `toypipe train` (or `dvc repro`) again"
        )
    device = next(classifier.model.parameters()).device
    with explained("evaluate.batch_size", batch_size):
        images = split.images.to(device)
        return predict(classifier.model, images, batch_size=batch_size, views=views)


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, *, batch_size: int, views: int) -> Tensor:
    """Return the mean of the logits over some views of each image.

    Args:
        model: In evaluation mode, on the device of `images`.
        images: uint8 of shape (N, 3, size, size), in channels_last memory.
        batch_size: Images per forward pass.
        views: 1: the image. 2: and its mirror. 6: and both shifted by a pixel to either corner.

    Returns:
        float32 of shape (N, classes), on the CPU. Several processes share the work.
    """
    return distributed.map_batches(
        images.split(min(batch_size, len(images))),
        lambda batch: torch.stack([model(seen) for seen in _views(batch, views)]).mean(0).cpu(),
    )


def _views(images: Tensor, views: int) -> Iterator[Tensor]:
    """Yield the image, then for 2 views its mirror, for 6 also both shifted to either corner."""
    for mirrored in (images, images.flip(3)) if views > 1 else (images,):
        for shift in (0, -1, 1) if views == 6 else (0,):
            yield _shifted(mirrored, shift)


def _shifted(images: Tensor, pixels: int) -> Tensor:
    """Move the window down and right; what comes in is reflected, the border not repeated."""
    if pixels == 0:
        return images
    size = images.shape[-1]
    seen = torch.arange(size, device=images.device) + pixels
    seen = size - 1 - (size - 1 - seen.abs()).abs()
    shifted = images.index_select(2, seen).index_select(3, seen)
    return shifted.contiguous(memory_format=torch.channels_last)


def measure(logits: Tensor, split: Split) -> Metrics:
    """Compare predictions with the truth.

    Args:
        logits: float32 of shape (N, classes), on the CPU.
        split: The images that they are for.
    """
    labels = split.labels.cpu()
    right = int((logits.argmax(1) == labels).sum())
    low, high = wilson_interval(right, len(labels))
    return Metrics(right / len(labels), low, high, float(F.cross_entropy(logits, labels)))


def confusion(predicted: Tensor, split: Split) -> Tensor:
    """Count how often each class is taken for each.

    Args:
        predicted: Class numbers, int64 of shape (N,), on the CPU.
        split: The images that they are for.

    Returns:
        int64 of shape (classes, classes): a row for each actual class, a column for each predicted.
    """
    classes = len(split.classes)
    pairs = split.labels.cpu() * classes + predicted
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def confident_mistakes(logits: Tensor, split: Split, count: int) -> list[Mistake]:
    """Return the mistakes that the network was surest of, the surest first.

    Args:
        logits: float32 of shape (N, classes), on the CPU.
        split: The images that they are for.
        count: How many at most.
    """
    labels = split.labels.cpu()
    probabilities, predicted = logits.double().softmax(1).max(1)
    wrong = (predicted != labels).nonzero().flatten()
    order = probabilities[wrong].argsort(descending=True, stable=True)
    return [
        Mistake(i, int(labels[i]), int(predicted[i]), float(probabilities[i]))
        for i in wrong[order][:count].tolist()
    ]


def per_class(predicted: Tensor, split: Split) -> list[ClassMetrics]:
    """Compare predictions with the truth, class by class.

    Args:
        predicted: Class numbers, int64 of shape (N,), on the CPU.
        split: The images that they are for.
    """
    counts = confusion(predicted, split)
    hits, called, support = counts.diag(), counts.sum(0), counts.sum(1)
    rows = zip(split.classes, hits.tolist(), called.tolist(), support.tolist(), strict=True)
    return [
        ClassMetrics(name, _ratio(hit, call), _ratio(hit, have), _ratio(2 * hit, call + have), have)
        for name, hit, call, have in rows
    ]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
