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
from toypipe.data.split import Split, StoredSplit
from toypipe.errors import ToypipeError
from toypipe.params.schema import TrainParams
from toypipe.training.augment import mix, shrink
from toypipe.training.batches import Batches, count_batches
from toypipe.training.losses import LOSSES, Loss, one_hot
from toypipe.training.optimizers import build_optimizers, set_rates
from toypipe.training.schedules import rate_factor
from toypipe.training.state import Epoch, TrainingState, out_of_patience
from toypipe.training.step_table import StepTable

VALIDATION_BATCH = 250  # images; on a CPU more are not faster, and need more memory


class Step(NamedTuple):
    """The progress of a training after one step."""

    epoch: int  # the current pass, from 1
    epochs: int  # passes of the whole training, including a partial one
    begun: int  # images of this pass that were trained on before it was resumed; else 0
    done: int  # images of this pass that have been trained on
    images: int  # images of this pass
    losses: Tensor
    """Mean loss of each batch of this pass so far, until the next pass; reading waits."""


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
    """Take one step of the optimizers, in place, with the model in training mode.

    Images are uint8 of shape (n, 3, size, size), targets probabilities of shape (n, classes). With
    `bfloat16`, the network computes in it where that is safe; the loss is in float32. `weight` is
    the factor of the loss, if the images are one process's part of a batch.

    Returns the loss before the step, a scalar on the device: reading it waits for the device.
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


def begin(model: nn.Module, params: TrainParams) -> TrainingState:
    """Return the state before the first step; the model is on its final device."""
    return TrainingState(model, build_optimizers(model, params.optimizer))


def train(
    state: TrainingState,
    split: Split | StoredSplit,
    validation: Split | StoredSplit | None,
    params: TrainParams,
) -> Iterator[Step | Epoch]:
    """Train to the end, in place; yield progress after each step, results after each epoch.

    On one device, with one number of threads, the same arguments give the same weights, bit for
    bit. So does a training that was stopped at any yield, saved and resumed: all of its state is
    in `state` and torch's global generator. With `patience` it may end earlier; the schedule is
    that of all epochs nevertheless. Several processes that train together each take a
    part of every batch, and get the same weights up to rounding.

    The state and the labels are on one device, and so are the images, unless they stay in a file.
    At the end, the model has the weights to keep. A finished training yields nothing. Raises
    ToypipeError if the loss becomes infinite or NaN.
    """
    loss, bfloat16 = LOSSES[params.loss], params.precision == "bfloat16"
    steps, per_epoch = _length(params, len(split))
    epochs = math.ceil(steps / per_epoch)
    balanced = params.sampling == "balanced"
    batches = Batches(split, params.augment, params.seed, balanced=balanced)
    network = distributed.replicate(state.model)
    device = split.labels.device
    table = StepTable(per_epoch, device)

    def step(count: int, size: int) -> None:
        set_rates(state.optimizers, table.factor())
        images, labels, portions = batches.take(count, distributed.shard(count))
        images = shrink(images, size)
        targets = one_hot(labels, len(split.classes), params.label_smoothing)
        if portions is not None:
            images, targets = mix(images, targets, portions)
        weight, optimizers = distributed.shard_weight(count), state.optimizers
        batch_loss = train_step(
            network, loss, optimizers, images, targets, bfloat16=bfloat16, weight=weight
        )
        table.put(distributed.all_reduce_mean(batch_loss))

    # A graph cannot wait for a file.
    whole_step = captured(step, device) if isinstance(split.images, Tensor) else step
    sizes = params.sizes or [split.size]
    for epoch in range(len(state.epochs), epochs):
        if out_of_patience(state.epochs, params.patience):
            break
        first = epoch * per_epoch
        planned = min(per_epoch, steps - first)
        total = len(split) if planned == per_epoch else planned * params.batch_size
        if state.steps == 0:
            state.losses = torch.zeros(planned, device=device)
            torch.manual_seed(derive_seed(params.seed, "dropout", epoch, distributed.rank()))
        begun = done = state.steps * params.batch_size
        state.model.train()
        batches.start(epoch, done)
        of_epoch = range(first, first + planned)
        factors = [rate_factor(params.schedule, now, steps, per_epoch) for now in of_epoch]
        state.losses = table.start(factors, state.losses, state.steps)
        while state.steps < planned:
            size = sizes[(first + state.steps) * len(sizes) // steps]
            count = params.batch_size if state.steps < planned - 1 else total - done
            whole_step(count, size)
            state.steps += 1
            done += count
            yield Step(epoch + 1, epochs, begun, done, total, state.losses[: state.steps])

        if epoch + 1 < epochs:
            batches.draw(epoch + 1)  # before anything waits for the device
        yield _finish_epoch(state, validation, params, len(split), total)
    if state.best_weights is not None:
        state.model.load_state_dict(state.best_weights)


def _finish_epoch(
    state: TrainingState,
    validation: Split | StoredSplit | None,
    params: TrainParams,
    images: int,
    trained: int,
) -> Epoch:
    """Return the results of the current pass, which trained on so many of the images."""
    validation_loss, accuracy = _validate(state.model, validation, LOSSES[params.loss], params)
    require_finite(state, params, images, validation_loss)
    epoch, (_, per_epoch) = len(state.epochs), _length(params, images)
    results = Epoch(
        min(epoch + 1, params.epochs),
        _mean_over_images(state.losses, params.batch_size, trained),
        validation_loss,
        accuracy,
        _rate(state, params, epoch * per_epoch + state.steps - 1, images),
    )
    if params.keep == "best" and accuracy is not None:
        before = [each.validation_accuracy or 0.0 for each in state.epochs]
        if accuracy > max(before, default=-1.0):
            weights = state.model.state_dict()
            state.best_weights = {name: value.clone() for name, value in weights.items()}
    state.epochs.append(results)
    state.steps = 0
    return results


def require_finite(
    state: TrainingState, params: TrainParams, images: int, validation_loss: float | None = None
) -> None:
    """Raise ToypipeError if a loss of the current pass, or a weight, is infinite or NaN.

    `images` is the number of training images. This waits for the device.
    """
    losses = state.losses[: state.steps].cpu()
    weights = torch.stack([weight.detach().abs().max() for weight in state.model.parameters()])
    index = state.steps - 1
    if len(bad := losses.isfinite().logical_not().nonzero()) > 0:
        index = int(bad[0])
        what = f"the loss is {float(losses[index])}"
    elif not weights.isfinite().all():
        what = f"a weight is {float(weights.max())}"
    elif validation_loss is not None and not math.isfinite(validation_loss):
        what = f"the validation loss is {validation_loss}"
    else:
        return
    steps, per_epoch = _length(params, images)
    step = len(state.epochs) * per_epoch + index
    raise ToypipeError(
        f"{what} at step {step + 1} of {steps}, in epoch {len(state.epochs) + 1}, at a learning"
        f" rate of {_rate(state, params, step, images):g}: training has diverged. A lower"
        " train.optimizer.lr, or a schedule with a warm-up, usually helps"
    )


def _rate(state: TrainingState, params: TrainParams, step: int, images: int) -> float:
    """Return the learning rate of the first group at a step of the training, from 0."""
    initial: float = state.optimizers[0].param_groups[0]["initial_lr"]
    return initial * rate_factor(params.schedule, step, *_length(params, images))


def _length(params: TrainParams, images: int) -> tuple[int, int]:
    """Return the steps of the whole training, and those of a whole pass."""
    per_epoch = count_batches(images, params.batch_size)
    return max(1, round(params.epochs * per_epoch)), per_epoch


def _mean_over_images(losses: Tensor, batch_size: int, images: int) -> float:
    """Average the mean losses of batches; the last batch may have another size."""
    counts = torch.full(losses.shape, batch_size, dtype=torch.float64)
    counts[-1] = images - batch_size * (len(losses) - 1)
    return float(losses.cpu().double() @ counts) / images


@torch.inference_mode()
def _validate(
    model: nn.Module, split: Split | StoredSplit | None, loss: Loss, params: TrainParams
) -> tuple[float | None, float | None]:
    """Return loss and accuracy on the validation images, in float32."""
    if split is None:
        return None, None
    model.eval()
    images, device = split.images, split.labels.device
    logits = distributed.map_batches(
        range(0, len(split), VALIDATION_BATCH),
        lambda start: model(images[start : start + VALIDATION_BATCH].to(device)),
    ).to(device)
    targets = one_hot(split.labels, len(split.classes), params.label_smoothing)
    right = (logits.argmax(1) == split.labels).sum()
    return float(loss(logits, targets)), int(right) / len(split)
