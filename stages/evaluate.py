"""Stage `evaluate`: measure the checkpoint on the test images, which training never sees."""

import math
from pathlib import Path

from toypipe.compute import DeviceName, distributed
from toypipe.compute.devices import pick_device
from toypipe.compute.memory import load_or_open
from toypipe.data.files import csv_bytes, json_bytes
from toypipe.errors import ToypipeError
from toypipe.evaluation.drawing import draw_confusion, draw_mistakes
from toypipe.evaluation.metrics import (
    ClassMetrics,
    classify,
    confident_mistakes,
    confusion,
    measure,
    per_class,
)
from toypipe.networks.checkpoint import load_checkpoint
from toypipe.params.schema import EvaluateParams
from toypipe.pipeline.gpu_lock import locked_gpu
from toypipe.pipeline.stage import Reads, Stage, Writes

MISTAKES = 20  # the number of most confident mistakes that are drawn


def run(
    stage: Stage,
    params: EvaluateParams,
    *,
    device: DeviceName,
    checkpoint: Reads = Path("data/model/checkpoint.pt"),
    test_images: Reads = Path("data/prepared/test.pt"),
    test_json: Writes = Path("data/reports/test.json"),
    confusion_csv: Writes = Path("data/reports/confusion.csv"),
    per_class_csv: Writes = Path("data/reports/per_class.csv"),
    confusion_png: Writes = Path("data/reports/images/confusion.png"),
    mistakes_png: Writes = Path("data/reports/images/mistakes.png"),
) -> str | None:
    """Test a network; return a line for the user, or None in all processes but the first.

    Raises ToypipeError if checkpoint and images are missing, or do not fit together.
    """
    target = pick_device(device)
    with distributed.process_group(target), locked_gpu(target):
        classifier, split = load_checkpoint(checkpoint, target), load_or_open(test_images)
        logits = classify(classifier, split, params)
        if distributed.rank() > 0:
            return None
    stage.require_unchanged()  # now that everything is loaded
    metrics, predicted, names = measure(logits, split), logits.argmax(1), split.classes
    if not math.isfinite(metrics.loss):
        raise ToypipeError(
            f"the loss of {checkpoint} on the test images is {metrics.loss}: its training diverged."
            " `toypipe train` (or `dvc repro train`) makes a new one"
        )
    pairs = zip(split.labels.tolist(), predicted.tolist(), strict=True)
    rows = [(names[actual], names[called]) for actual, called in pairs]
    outputs = (test_json, confusion_csv, per_class_csv, confusion_png, mistakes_png)
    with stage.publish(*outputs) as files:
        files[0].write(json_bytes(metrics._asdict()))
        files[1].write(csv_bytes(("actual", "predicted"), rows))
        files[2].write(csv_bytes(("class", *ClassMetrics._fields[1:]), per_class(predicted, split)))
        files[3].write(draw_confusion(confusion(predicted, split), names))
        files[4].write(draw_mistakes(confident_mistakes(logits, split, MISTAKES), split))
    return (
        f"test accuracy {metrics.accuracy:.4f}, between {metrics.accuracy_low:.4f} and"
        f" {metrics.accuracy_high:.4f} (95 %), balanced {metrics.balanced_accuracy:.4f}, loss"
        f" {metrics.loss:.4f}; more in {test_json.parent}"
    )
