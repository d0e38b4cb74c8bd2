"""The training loop: forward, backward, step."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toypipe.compute import distributed
from toypipe.compute.cuda_graph import captured
from toypipe.compute.seeding import derive_seed
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.params.schema import TrainParams
from toypipe.training.augment import shrunk
from toypipe.training.batches import Batches
from toypipe.training.losses import LOSSES, Loss, one_hot
from toypipe.training.optimizers import build_optimizers, set_rates
from toypipe.training.schedules import rate_factor
from toypipe.training.state import Epoch, Run

VALIDATION_BATCH = 250  # images; on a CPU more of them take as long, and more memory


class Step(NamedTuple):
    """Where a run stands after one step."""

    epoch: int
    """The pass that it is in, from 1."""
    epochs: int
    """How many passes there will be, a last partial one counted."""
    begun: int
    """Images of this pass that had been trained on when the run was gone on with; else 0."""
    done: int
    """Images of this pass that have been trained on."""
    images: int
    """Images that this pass will train on."""
    losses: Tensor
    """Mean loss of each batch of this pass so far, on the device: reading them waits for it."""


def train_step(
    model: nn.Module,
    loss: Loss,
    optimizers: list[Optimizer],
    images: Tensor,
    targets: Tensor,
    *,
    bfloat16: bool,
    weight: float = 1,
) -> Tensor:
    """Take one step of the optimizers, in place.

    Args:
        model: From images to logits (n, classes), in training mode.
        loss: From logits and targets to a scalar.
        optimizers: They share the model's parameters among them.
        images: uint8 of shape (n, 3, size, size).
        targets: Target probabilities, float32 of shape (n, classes).
        bfloat16: Compute the network in bfloat16 where that is safe; the loss is in float32.
        weight: What the loss is multiplied by, for the images may be one process's part of a batch.

    Returns:
        The loss before the step, a scalar, still on the device: reading it waits for the device.
    """
    for optimizer in optimizers:
        optimizer.zero_grad()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(images)
    batch_loss = loss(logits.float(), targets)
    if weight != 1:
        batch_loss = weight * batch_loss
    batch_loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return batch_loss.detach()


def begin(model: nn.Module, params: TrainParams) -> Run:
    """Return a run that is about to take its first step.

    Args:
        model: On its final device, with fresh weights.
        params: The `train` section of params.yaml.
    """
    return Run(model, build_optimizers(model, params.optimizer))


def train(
    run: Run, split: Split, validation: Split | None, params: TrainParams
) -> Iterator[Step | Epoch]:
    """Train from where the run stands to its end, yielding after every step and every epoch.

    On one device, with one number of threads, the same arguments give the same weights, bit for
    bit, and so does a run that was stopped at any of these events, saved, and gone on with.
    Nothing is kept outside the run but torch's global generator, which is reseeded. Several
    processes that train together each take a part of every batch, but for rounding to the same end.

    Args:
        run: Changed in place; on the device of `split`. Its model holds the kept weights when the
            iterator is exhausted.
        split: The images to train on.
        validation: The images to measure on after each epoch, on the same device, or None.
        params: The `train` section of params.yaml.

    Yields:
        Where the run stands, and after each pass its figures.

    Raises:
        ToypipeError: The loss became infinite or not a number.
    """
    loss, bfloat16 = LOSSES[params.loss], params.precision == "bfloat16"
    steps, per_epoch = _length(params, len(split))
    epochs = math.ceil(steps / per_epoch)
    batches = Batches(split, params.augment, params.seed)
    network = distributed.replicate(run.model)

    def step(count: int, size: int) -> Tensor:
        images, labels = batches.take(count, distributed.shard(count))
        images = shrunk(images, size)
        targets = one_hot(labels, len(split.classes), params.label_smoothing)
        weight, optimizers = distributed.shard_weight(count), run.optimizers
        return distributed.all_reduce_mean(
            train_step(network, loss, optimizers, images, targets, bfloat16=bfloat16, weight=weight)
        )

    whole_step = captured(step, split.images.device)
    sizes = params.sizes or [split.size]
    for epoch in range(len(run.epochs), epochs):
        first = epoch * per_epoch
        planned = min(per_epoch, steps - first)
        total = min(len(split), planned * params.batch_size)
        if run.steps == 0:
            run.losses = torch.zeros(planned, device=split.images.device)
            torch.manual_seed(derive_seed(params.seed, "dropout", epoch, distributed.rank()))
        begun = done = run.steps * params.batch_size
        run.model.train()
        batches.start(epoch, done)
        while run.steps < planned:
            now = first + run.steps
            set_rates(run.optimizers, rate_factor(params.schedule, now, steps, per_epoch))
            size = sizes[now * len(sizes) // steps]
            count = min(params.batch_size, total - done)
            run.losses[run.steps] = whole_step(count, size)
            run.steps += 1
            done += count
            yield Step(epoch + 1, epochs, begun, done, total, run.losses[: run.steps])

        require_finite(run, params, len(split))
        validation_loss, accuracy = _validate(run.model, validation, loss, params.label_smoothing)
        if validation_loss is not None and not math.isfinite(validation_loss):
            what = f"the validation loss is {validation_loss}"
            raise _diverged(what, run, run.steps - 1, params, len(split))
        figures = Epoch(
            min(epoch + 1, params.epochs),
            _mean_over_images(run.losses, params.batch_size, total),
            validation_loss,
            accuracy,
            _rate(run, params, first + planned - 1, len(split)),
        )
        if params.keep == "best" and _is_best(accuracy, run.epochs):
            weights = run.model.state_dict()
            run.best_weights = {name: value.clone() for name, value in weights.items()}
        run.epochs.append(figures)
        run.steps = 0
        yield figures
    if run.best_weights is not None:
        run.model.load_state_dict(run.best_weights)


def require_finite(run: Run, params: TrainParams, images: int) -> None:
    """Stop a run that has diverged. This waits for the device.

    Args:
        run: Within a pass, after a step.
        params: The `train` section of params.yaml.
        images: How many are trained on.

    Raises:
        ToypipeError: A loss of this pass, or a weight, is infinite or not a number.
    """
    bad = run.losses[: run.steps].isfinite().logical_not().nonzero()
    if len(bad) > 0:
        step = int(bad[0])
        raise _diverged(f"the loss is {float(run.losses[step])}", run, step, params, images)
    weights = torch.stack([weight.detach().abs().max() for weight in run.model.parameters()])
    if not weights.isfinite().all():
        raise _diverged(f"a weight is {float(weights.max())}", run, run.steps - 1, params, images)


def _diverged(what: str, run: Run, index: int, params: TrainParams, images: int) -> ToypipeError:
    """Say what went wrong at a step of the pass under way, counted from 0."""
    steps, per_epoch = _length(params, images)
    step = len(run.epochs) * per_epoch + index
    rate = _rate(run, params, step, images)
    return ToypipeError(
        f"{what} at step {step + 1} of {steps}, in epoch {len(run.epochs) + 1}, at a learning rate"
        f" of {rate:g}: training has diverged. A lower train.optimizer.lr, or a schedule with a"
        " warm-up, usually mends that"
    )


def _rate(run: Run, params: TrainParams, step: int, images: int) -> float:
    """Return the learning rate of the first group at a step of the run, counted from 0."""
    initial: float = run.optimizers[0].param_groups[0]["initial_lr"]
    return initial * rate_factor(params.schedule, step, *_length(params, images))


def _length(params: TrainParams, images: int) -> tuple[int, int]:
    """Return the steps of a run, and those of a whole pass."""
    per_epoch = math.ceil(images / params.batch_size)
    return max(1, round(params.epochs * per_epoch)), per_epoch


def _is_best(accuracy: float | None, before: list[Epoch]) -> bool:
    """Tell whether an accuracy is above all earlier ones."""
    return accuracy is not None and all(
        epoch.validation_accuracy is None or accuracy > epoch.validation_accuracy
        for epoch in before
    )


def _mean_over_images(losses: Tensor, batch_size: int, images: int) -> float:
    """Average the mean losses of batches, of which the last may be smaller."""
    counts = torch.full(losses.shape, batch_size, dtype=torch.float64)
    counts[-1] = images - batch_size * (len(losses) - 1)
    return float(losses.cpu().double() @ counts) / images


@torch.inference_mode()
def _validate(
    model: nn.Module, split: Split | None, loss: Loss, smoothing: float
) -> tuple[float | None, float | None]:
    """Return loss and accuracy on held-out images, in float32."""
    if split is None:
        return None, None
    model.eval()
    logits = distributed.map_batches(split.images.split(VALIDATION_BATCH), model)
    targets = one_hot(split.labels, len(split.classes), smoothing)
    right = (logits.argmax(1) == split.labels).sum()
    return float(loss(logits, targets)), int(right) / len(split)
