"""Stage `evaluate`: measure the checkpoint on images that training has never seen."""

import math
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from toypipe.compute import distributed
from toypipe.compute.devices import DeviceName, explained, pick_device
from toypipe.data.files import csv_bytes, json_bytes
from toypipe.data.split import Split, load_split
from toypipe.errors import ToypipeError
from toypipe.evaluation.drawing import draw_confusion, draw_mistakes
from toypipe.evaluation.metrics import (
    Metrics,
    confident_mistakes,
    confusion,
    measure,
    per_class,
)
from toypipe.evaluation.metrics import classify as classify_split
from toypipe.networks.checkpoint import load_checkpoint
from toypipe.params.schema import EvaluateParams
from toypipe.pipeline.files import Reads, Writes, publish
from toypipe.pipeline.gpu_lock import own_gpu

MISTAKES = 20
"""How many of the most confident mistakes are shown."""


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
    confusion_png: Writes = Path("data/reports/images/confusion.png"),
    mistakes_png: Writes = Path("data/reports/images/mistakes.png"),
) -> Metrics | None:
    """Test a network; write how good it is.

    Several processes, see `toypipe.compute.distributed`, share the images; the first one writes.

    Args:
        params: The `evaluate` section of params.yaml.
        device: Where to compute.
        unchanged: Raises if parameters, code or files have changed since they were noted.
        checkpoint: The network.
        test_images: The test images.
        test_json: Where accuracy and loss go.
        confusion_csv: Where each image's actual and predicted class go.
        per_class_csv: Where the figures of each class go.
        confusion_png: Where the confusion matrix goes, drawn.
        mistakes_png: Where the most confident mistakes go, drawn.

    Returns:
        Accuracy and loss; None from the processes that follow the first.

    Raises:
        ToypipeError: The checkpoint and the images are not there, or do not go together.
        LostError: A process that takes part has gone.
    """
    target = pick_device(device)
    with distributed.process_group(target), own_gpu(target):
        split, logits = classify(
            params, device=device, checkpoint=checkpoint, test_images=test_images
        )
        if distributed.rank() > 0:
            return None
    unchanged()  # the first time: it is strict about what was written while this was read
    metrics, predicted, names = measure(logits, split), logits.argmax(1), split.classes
    if not math.isfinite(metrics.loss):
        raise ToypipeError(
            f"{checkpoint} is of no use: its loss on the test images is {metrics.loss}."
            " `toypipe train` (or `dvc repro train`) makes it anew"
        )
    pairs = zip(split.labels.tolist(), predicted.tolist(), strict=True)
    rows = [(names[actual], names[called]) for actual, called in pairs]
    figures = per_class(predicted, split)
    drawn = (
        draw_confusion(confusion(predicted, split), names),
        draw_mistakes(confident_mistakes(logits, split, MISTAKES), split),
    )
    tables = (test_json, confusion_csv, per_class_csv)
    with publish(*tables, confusion_png, mistakes_png, unchanged=unchanged) as files:
        files[0].write(json_bytes(metrics._asdict()))
        files[1].write(csv_bytes(("actual", "predicted"), rows))
        files[2].write(csv_bytes(("class", "precision", "recall", "f1", "support"), figures))
        files[3].write(drawn[0])
        files[4].write(drawn[1])
    return metrics


def classify(
    params: EvaluateParams, *, device: DeviceName, checkpoint: Path, test_images: Path
) -> tuple[Split, Tensor]:
    """Let a network classify the test images.

    Args:
        params: The `evaluate` section of params.yaml.
        device: Where to compute.
        checkpoint: The network.
        test_images: The test images.

    Returns:
        The images, and the logits for each: float32 of shape (N, classes), on the CPU.

    Raises:
        ToypipeError: The checkpoint and the images are not there, or do not go together.
    """
    classifier = load_checkpoint(checkpoint, pick_device(device))
    split = load_split(test_images)
    with explained("evaluate.batch_size", params.batch_size):
        return split, classify_split(
            classifier, split, batch_size=params.batch_size, views=params.views
        )
