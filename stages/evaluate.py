"""Stage `evaluate`: measure the checkpoint on images that training has never seen."""

import math
from collections.abc import Callable
from pathlib import Path

from stages.files import Reads, Writes, csv_bytes, json_bytes, publish
from toypipe.checkpoint import Classifier, load_checkpoint
from toypipe.devices import DeviceName, enough_memory, pick_device
from toypipe.errors import ToypipeError
from toypipe.evaluation import Metrics, measure, per_class, predict
from toypipe.params import EvaluateParams
from toypipe.split import Split, load_split


def run(
    params: EvaluateParams,
    *,
    device: DeviceName,
    unchanged: Callable[[], None] = lambda: None,
    checkpoint: Reads = Path("data/model/checkpoint.pt"),
    test_images: Reads = Path("data/prepared/test.pt"),
    test_json: Writes = Path("data/reports/test.json"),
    confusion_csv: Writes = Path("data/reports/confusion.csv"),
    per_class_csv: Writes = Path("data/reports/per_class.csv"),
) -> Metrics:
    """Test a network; write how good it is.

    Args:
        params: The `evaluate` section of params.yaml.
        device: Where to compute.
        unchanged: Raises if parameters, code or files have changed since they were noted.
        checkpoint: The network.
        test_images: The test images.
        test_json: Where accuracy and loss go.
        confusion_csv: Where each image's actual and predicted class go.
        per_class_csv: Where the figures of each class go.

    Returns:
        Accuracy and loss.

    Raises:
        ToypipeError: The checkpoint and the images are not there, or do not go together.
    """
    target = pick_device(device)
    classifier = load_checkpoint(checkpoint, target)
    split = load_split(test_images)
    _require_same(classifier, split)
    with enough_memory("evaluate.batch_size", params.batch_size):
        logits = predict(
            classifier.model,
            split.images.to(target),
            batch_size=params.batch_size,
            views=params.views,
        )
    metrics, predicted = measure(logits, split), logits.argmax(1)
    if not math.isfinite(metrics.loss):
        raise ToypipeError(
            f"{checkpoint} is of no use: its loss on the test images is {metrics.loss}."
            " `toypipe train` (or `dvc repro train`) makes it anew"
        )
    pairs = zip(split.labels.tolist(), predicted.tolist(), strict=True)
    names = split.classes
    figures = per_class(predicted, split)
    with publish(test_json, confusion_csv, per_class_csv, unchanged=unchanged) as files:
        files[0].write(json_bytes(metrics._asdict()))
        rows = [(names[actual], names[called]) for actual, called in pairs]
        files[1].write(csv_bytes(("actual", "predicted"), rows))
        files[2].write(csv_bytes(("class", "precision", "recall", "f1", "support"), figures))
    return metrics


def _require_same(classifier: Classifier, split: Split) -> None:
    """Refuse a network that was trained on other images than these."""
    if (classifier.size, classifier.classes) != (split.size, split.classes):
        raise ToypipeError(
            f"the checkpoint is for {classifier.size}-pixel images of"
            f" {', '.join(classifier.classes)}, but the test images have {split.size} pixels and"
            f" are of {', '.join(split.classes)}: run `toypipe train` (or `dvc repro`) again"
        )
