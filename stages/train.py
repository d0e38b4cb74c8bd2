"""Stage `train`: from the training images to a checkpoint and its loss curve."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from toypipe.compute import DeviceName, distributed
from toypipe.compute.devices import describe, explained, pick_device
from toypipe.compute.memory import load_or_open
from toypipe.data.files import json_bytes
from toypipe.data.split import Split, StoredSplit
from toypipe.data.stored import StoredImages
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model, require_size
from toypipe.networks.checkpoint import Classifier, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.networks.start import (
    Learned,
    imagenet_url,
    learned_in,
    learned_on_imagenet,
    start_from,
)
from toypipe.networks.whitening import fit_whitening
from toypipe.params.rules import require_fit
from toypipe.params.schema import Torchvision, TrainParams
from toypipe.pipeline.gpu_lock import locked_gpu
from toypipe.pipeline.inputs import file_md5, find_raw
from toypipe.pipeline.progress import show, show_download
from toypipe.pipeline.resume import claimed, kept
from toypipe.pipeline.stage import Reads, Stage, Writes
from toypipe.training.batches import count_batches
from toypipe.training.chance import learned_nothing
from toypipe.training.holdout import hold_out
from toypipe.training.loop import begin, train
from toypipe.training.state import Epoch, TrainingState, loss_table, out_of_patience

AT_CHANCE = (
    "for three epochs the train loss has been that of a constant guess: the network learns nothing."
    " The learning rates may be too low, or too high: half of train.batch_size needs half of them"
)


def run(
    stage: Stage,
    params: TrainParams,
    *,
    device: DeviceName,
    weights: Path = Path("data/raw/weights"),
    train_images: Reads = Path("data/prepared/train.pt"),
    checkpoint: Writes = Path("data/model/checkpoint.pt"),
    loss_csv: Writes = Path("data/reports/loss.csv"),
    train_json: Writes = Path("data/reports/train.json"),
) -> str | None:
    """Train a network; resume where the same training was stopped.

    The folder `weights` has torchvision's, or they are downloaded there, if they are to start from.
    Returns a line for the user, or None in all processes but the first. Raises ToypipeError if
    parameters, images and device do not fit together, the training diverges, memory runs out,
    another process runs the same training, or one of several ended. Raises Interrupted after a
    signal; the state is saved.
    """
    target = pick_device(device)
    learned = _learned(stage, params, weights)
    values = {"params": params.model_dump(), "inputs": stage.md5}
    with (
        distributed.process_group(target),
        claimed(values, describe(target)) as folder,
        locked_gpu(target),
    ):
        split = load_or_open(train_images, target)
        if isinstance(split.images, StoredImages):
            folder.say(f"there is no room for the images in memory: they stay in {train_images}")
        require_fit(
            params,
            size=split.size,
            images=len(split),
            classes=len(split.classes),
            place=stage.place,
        )
        training, validation = hold_out(split, params.validation, params.seed)
        del split  # as large as the two together
        counts = training.labels.bincount(minlength=len(training.classes)).tolist()
        stuck = partial(learned_nothing, params=params, counts=counts)
        with explained("train.batch_size", params.batch_size):
            run = folder.resume(lambda: _build(stage, params, training, learned, target))
            stage.require_unchanged()  # now that everything is loaded
            held_out = validation.to(target) if validation else None
            events = train(run, training.to(target), held_out, params)
            for event in show(kept(events, run, folder, params, len(training))):
                if isinstance(event, Epoch) and stuck(run.epochs) and not stuck(run.epochs[:-1]):
                    folder.say(f"warning: {AT_CHANCE}")
        if distributed.rank() > 0:
            return None
        stage.kept = folder.has_finished()
        classifier = Classifier(run.model, params.model, training.size, training.classes)
        with stage.publish(checkpoint, loss_csv, train_json) as files:
            save_checkpoint(files[0], classifier)
            files[1].write(loss_table(run.epochs))
            files[2].write(json_bytes(run.epochs[-1]._asdict()))
        folder.note(checkpoint=file_md5(checkpoint))
    last = run.epochs[-1]
    said = f"train loss {last.train_loss:.4f} in {loss_csv}, network in {checkpoint.parent}"
    if last.epoch < params.epochs and out_of_patience(run.epochs, params.patience):
        said += (
            f"; ended after epoch {last.epoch:g} of {params.epochs:g}: {params.patience} brought no"
            " better validation accuracy (train.patience)"
        )
    if stuck(run.epochs):
        said += f"\nwarning: {AT_CHANCE}"
    return said


def _learned(stage: Stage, params: TrainParams, weights: Path) -> Learned | None:
    """Read the weights to start from; a checkpoint becomes one more input of the stage."""
    if params.start_path is not None:
        stage.require_listed("train.start", params.start_path)
        with stage.blaming("train.start"):
            return learned_in(params.start_path)
    if params.start == "imagenet" and isinstance(params.model, Torchvision):
        arch = params.model.arch
        folder = find_raw(weights, imagenet_url(arch).rpartition("/")[2])
        with stage.blaming("train.start"):
            return learned_on_imagenet(arch, folder, partial(show_download, name=arch))
    return None


def _build(
    stage: Stage,
    params: TrainParams,
    training: Split | StoredSplit,
    learned: Learned | None,
    device: torch.device,
) -> TrainingState:
    normalize = build_normalize(params.normalize, training.images)
    shape = Shape(training.size, len(training.classes))
    model = build_model(params.model, shape, normalize, params.seed)
    for size in params.sizes:
        require_size(model, size, "this network", "change train.sizes or train.model")
    _require_batches(model, training, params)
    model.to(device)
    fit_whitening(model, training.images)
    if learned is not None:
        with stage.blaming("train.start"):
            start_from(model, learned, training.classes)
    return begin(model, params)


def _require_batches(model: nn.Module, training: Split | StoredSplit, params: TrainParams) -> None:
    """Refuse a last batch that is too small for batch norm, or for the number of processes."""
    others = count_batches(len(training), params.batch_size) - 1
    smallest = min(len(training) - others * params.batch_size, params.batch_size)
    batch = f"with train.batch_size {params.batch_size} the last batch of {len(training)} images"
    found, processes = f"{batch} has {smallest}", distributed.world_size()
    if smallest < processes:
        raise ToypipeError(f"{found}, too few for {processes} processes: change one of the two")
    if smallest == 1 and any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
        raise ToypipeError(f"{found}, and batch norm cannot learn from one image: change it")
