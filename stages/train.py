"""Stage `train`: from the training images to a checkpoint and its loss curve."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from stages.files import Reads, Writes, csv_bytes, json_bytes, whole
from toypipe.checkpoint import Classifier, save_checkpoint
from toypipe.devices import DeviceName, pick_device
from toypipe.errors import ToypipeError
from toypipe.holdout import hold_out
from toypipe.models import Shape, build_model
from toypipe.normalize import build_normalize
from toypipe.params import TrainParams
from toypipe.split import Split, load_split
from toypipe.training import Epoch, Step, train


def run(
    params: TrainParams,
    *,
    device: DeviceName,
    watch: Callable[[Iterator[Step | Epoch]], Iterator[Step | Epoch]] = iter,
    train_images: Reads = Path("data/prepared/train.pt"),
    checkpoint: Writes = Path("data/model/checkpoint.pt"),
    loss_csv: Writes = Path("data/reports/loss.csv"),
    train_json: Writes = Path("data/reports/train.json"),
) -> Epoch:
    """Train a network; write it, and how it went.

    Args:
        params: The `train` section of params.yaml.
        device: Where to compute.
        watch: Sees every step and epoch pass by, to show them.
        train_images: The training images, of which some may be held out.
        checkpoint: Where the network goes.
        loss_csv: Where the figures of each epoch go.
        train_json: Where those of the last one go.

    Returns:
        The figures of the last epoch.

    Raises:
        ToypipeError: The images, the parameters and the device do not go together.
    """
    target = pick_device(device)
    split = load_split(train_images)
    training, validation = hold_out(split, params.validation, params.seed)
    shape = Shape(split.size, len(split.classes))
    normalize = build_normalize(params.normalize, training.images)
    model = build_model(params.model, shape, normalize, params.seed).to(target)
    _require_fit(model, training, params)

    steps = train(model, training.to(target), validation.to(target) if validation else None, params)
    epochs = [event for event in watch(steps) if isinstance(event, Epoch)]
    with ExitStack() as stack:
        classifier = Classifier(model, params.model, split.size, split.classes)
        save_checkpoint(stack.enter_context(whole(checkpoint)), classifier)
        rows = [(f"{epoch.epoch:g}", *epoch[1:]) for epoch in epochs]
        stack.enter_context(whole(loss_csv)).write(csv_bytes(Epoch._fields, rows))
        stack.enter_context(whole(train_json)).write(json_bytes(epochs[-1]._asdict()))
    return epochs[-1]


def _require_fit(model: nn.Module, training: Split, params: TrainParams) -> None:
    """Refuse what only the images themselves show to be impossible."""
    if params.batch_size > len(training):
        raise ToypipeError(
            f"train.batch_size is {params.batch_size}, but there are only {len(training)} images"
            f" to train on ({params.validation} are held out): lower it"
        )
    if params.augment.translate >= training.size:
        raise ToypipeError(
            f"train.augment.translate is {params.augment.translate} pixels, but the images have"
            f" only {training.size}: lower it"
        )
    smallest = len(training) % params.batch_size or params.batch_size
    if smallest == 1 and any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
        raise ToypipeError(
            f"batch norm cannot learn from a single image, and with train.batch_size"
            f" {params.batch_size} the last batch of {len(training)} images is one: change it"
        )
