"""Stage `train`: from the training images to a checkpoint and its loss curve."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from toypipe.compute import distributed
from toypipe.compute.devices import DeviceName, describe, explained, pick_device
from toypipe.data.files import csv_bytes, json_bytes
from toypipe.data.split import Split, load_split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model, require_size
from toypipe.networks.checkpoint import Classifier, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import fit_whitening
from toypipe.params.schema import TrainParams
from toypipe.pipeline.cores import share_cores
from toypipe.pipeline.files import Reads, Writes, publish
from toypipe.pipeline.gpu_lock import own_gpu
from toypipe.pipeline.resume import RunFolder, claim
from toypipe.pipeline.signals import Interrupted, interrupts
from toypipe.training.holdout import hold_out
from toypipe.training.loop import Step, begin, require_finite, train
from toypipe.training.state import Epoch, TrainingState


def run(
    params: TrainParams,
    *,
    device: DeviceName,
    inputs: Mapping[str, str | None],
    unchanged: Callable[[], None] = lambda: None,
    watch: Callable[[Iterator[Step | Epoch]], Iterator[Step | Epoch]] = iter,
    train_images: Reads = Path("data/prepared/train.pt"),
    checkpoint: Writes = Path("data/model/checkpoint.pt"),
    loss_csv: Writes = Path("data/reports/loss.csv"),
    train_json: Writes = Path("data/reports/train.json"),
) -> Epoch | None:
    """Train a network; write it, and how it went.

    What was begun is gone on with, what was finished is delivered: see `toypipe.pipeline.resume`. Of several
    processes that train together, see `toypipe.compute.distributed`, the first one does that for all.

    Args:
        params: The `train` section of params.yaml.
        device: Where to compute.
        inputs: The md5 of the code and the images: with the parameters, they name the run.
        unchanged: Raises if parameters, code or images have changed since they were noted.
        watch: Sees every step and epoch pass by, to show them.
        train_images: The training images, of which some may be held out.
        checkpoint: Where the network goes.
        loss_csv: Where the figures of each epoch go.
        train_json: Where those of the last one go.

    Returns:
        The figures of the last epoch; None from the processes that follow the first.

    Raises:
        ToypipeError: The images, the parameters and the device do not go together, the loss is no
            number, or memory runs out.
        BusyError: Another process trains the same.
        LostError: A process that takes part in the training has gone.
        Interrupted: The process was asked to end; the state is saved.
    """
    target = pick_device(device)
    share_cores(target)
    values = {"params": params.model_dump(), "inputs": dict(inputs)}
    outputs = (checkpoint, loss_csv, train_json)
    with distributed.process_group(target), claim(values, describe(target)) as folder:
        results = folder.results(path.name for path in outputs)
        if distributed.broadcast(results is None):
            with own_gpu(target):
                contents = _train(
                    params, target, folder, train_images, watch=watch, unchanged=unchanged
                )
            results = dict(zip((path.name for path in outputs), contents, strict=True))
            with interrupts.held():
                folder.finish(results)
            interrupts.raise_received("the training is finished; the same command delivers it")
        else:
            folder.say(f"this training is finished already (run {folder.path.name}): delivering it")
        if results is None or distributed.rank() > 0:
            return None
        with publish(*outputs, unchanged=unchanged) as files:
            for file, content in zip(files, results.values(), strict=True):
                file.write(content)
    return Epoch(**json.loads(results[train_json.name]))


def _train(
    params: TrainParams,
    target: torch.device,
    folder: RunFolder,
    train_images: Path,
    *,
    watch: Callable[[Iterator[Step | Epoch]], Iterator[Step | Epoch]],
    unchanged: Callable[[], None],
) -> tuple[bytes, bytes, bytes]:
    """Train from where the run stood last to its end; return what the stage writes."""
    training, validation = hold_out(load_split(train_images), params.validation, params.seed)
    normalize = build_normalize(params.normalize, training.images)
    shape = Shape(training.size, len(training.classes))

    def fresh() -> TrainingState:
        model = build_model(params.model, shape, normalize, params.seed)
        fit_whitening(model, training.images)
        _require_fit(model, training, params)
        return begin(model.to(target), params)

    with explained("train.batch_size", params.batch_size):
        run = fresh()
        try:
            if folder.restore(run):
                folder.say(f"going on after {_place(run)}, where this training was stopped")
        except ToypipeError:
            folder.say("the saved state of this training is damaged: starting anew")
            run = fresh()
        unchanged()  # now that all code and data are in memory: the run is named after these
        events = train(
            run, training.to(target), validation.to(target) if validation else None, params
        )
        with interrupts.held():
            for _ in watch(keep_state(events, run, folder, params, len(training))):
                pass

    weights = io.BytesIO()
    save_checkpoint(weights, Classifier(run.model, params.model, training.size, training.classes))
    rows = [(f"{epoch.epoch:g}", *epoch[1:]) for epoch in run.epochs]
    table, last = csv_bytes(Epoch._fields, rows), json_bytes(run.epochs[-1]._asdict())
    return weights.getvalue(), table, last


def keep_state(
    events: Iterator[Step | Epoch],
    run: TrainingState,
    folder: RunFolder,
    params: TrainParams,
    images: int,
) -> Iterator[Step | Epoch]:
    """Pass the events of a run on; save its state in good time, and when it is asked to end.

    Args:
        events: Of `train`.
        run: What it trains.
        folder: Where the state goes.
        params: The `train` section of params.yaml.
        images: How many are trained on.

    Raises:
        ToypipeError: The run has diverged: such a state is not saved.
        Interrupted: The process was asked to end; the state is saved.
    """
    for event in events:
        yield event
        saves = isinstance(event, Step) and folder.save_due()
        due, asked = distributed.all_reduce_max(
            saves, interrupts.received or 0
        )  # all at the same step, or none
        match event:
            case Epoch():
                accuracy = event.validation_accuracy
                measured = f", validation accuracy {accuracy:.4f}" if accuracy is not None else ""
                folder.log(f"epoch {event.epoch:g}: train loss {event.train_loss:.4f}{measured}")
            case Step() if due:
                require_finite(run, params, images)
                folder.save(run)
        if asked:
            folder.save(run)
            folder.log(f"stopped after {_place(run)}")
            raise Interrupted(
                asked, f"stopped after {_place(run)}; the same command goes on from there"
            )


def _place(run: TrainingState) -> str:
    """Say where a run stands."""
    steps = f" and {run.steps} of {len(run.losses)} steps" if run.steps else ""
    return f"epoch {len(run.epochs)}{steps}"


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
    for size in params.sizes:
        if size > training.size:
            raise ToypipeError(
                f"train.sizes has {size} pixels, but the images have only {training.size}, and"
                " they are shrunk to these sizes: lower it"
            )
        require_size(model, size, "this network", "change train.sizes or train.model")
    smallest = len(training) % params.batch_size or params.batch_size
    if smallest < distributed.world_size():
        raise ToypipeError(
            f"with train.batch_size {params.batch_size} the last batch of {len(training)} images"
            f" has {smallest}, too few for {distributed.world_size()} processes: change it, or ask for fewer"
        )
    if smallest == 1 and any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
        raise ToypipeError(
            f"batch norm cannot learn from a single image, and with train.batch_size"
            f" {params.batch_size} the last batch of {len(training)} images is one: change it"
        )
