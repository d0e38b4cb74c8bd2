"""The training loop: forward, backward, step."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toypipe.batches import batches
from toypipe.errors import ToypipeError
from toypipe.losses import LOSSES, Loss, one_hot
from toypipe.optimizers import build_optimizers
from toypipe.params import TrainParams
from toypipe.schedules import rate_factor
from toypipe.split import Split
from toypipe.streams import derive_seed

VALIDATION_BATCH = 250  # images; their largest activation stays below 32 MiB, where malloc is fast


class Epoch(NamedTuple):
    """What one pass over the training images left behind: a row of loss.csv."""

    epoch: float
    """Passes completed: 1, 2, ...; fractional where the run ends within one."""
    train_loss: float
    """Mean over the images of this pass, each as it was when its batch was trained on."""
    validation_loss: float | None
    """The same loss, mean over the validation images, after the pass; None without any."""
    validation_accuracy: float | None
    """Share of the validation images that are classified right, 0..1; None without any."""
    learning_rate: float
    """At the last step; of the first parameter group."""


class Step(NamedTuple):
    """Where a run stands after one step."""

    epoch: int
    """The pass that it is in, from 1."""
    epochs: int
    """How many passes there will be, a last partial one counted."""
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
) -> Tensor:
    """Take one step of the optimizers, in place.

    Args:
        model: From images to logits (n, classes), in training mode.
        loss: From logits and targets to a scalar.
        optimizers: They share the model's parameters among them.
        images: uint8 of shape (n, 3, size, size).
        targets: Target probabilities, float32 of shape (n, classes).
        bfloat16: Compute the network in bfloat16 where that is safe; the loss is in float32.

    Returns:
        The loss before the step, a scalar, still on the device: reading it waits for the device.
    """
    for optimizer in optimizers:
        optimizer.zero_grad()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(images)
    batch_loss = loss(logits.float(), targets)
    batch_loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return batch_loss.detach()


def train(
    model: nn.Module, split: Split, validation: Split | None, params: TrainParams
) -> Iterator[Step | Epoch]:
    """Train the model in place, yielding after every step and after every epoch.

    On one device, with one number of threads, the same arguments give the same weights, bit for
    bit. Nothing is kept outside the run but torch's global generator, which is reseeded.

    Args:
        model: On the device of `split`. Holds the kept weights when the iterator is exhausted.
        split: The images to train on.
        validation: The images to measure on after each epoch, on the same device, or None.
        params: The `train` section of params.yaml.

    Yields:
        Where the run stands, and after each pass its figures.

    Raises:
        ToypipeError: The loss became infinite or not a number.
    """
    loss, bfloat16 = LOSSES[params.loss], params.precision == "bfloat16"
    optimizers = build_optimizers(model, params.optimizer)
    per_epoch = math.ceil(len(split) / params.batch_size)
    steps = max(1, round(params.epochs * per_epoch))
    best_accuracy, best_weights = -1.0, None

    for epoch, first in enumerate(range(0, steps, per_epoch)):
        planned = min(per_epoch, steps - first)
        total = min(len(split), planned * params.batch_size)
        losses = torch.zeros(planned, device=split.images.device)
        torch.manual_seed(derive_seed(params.seed, "dropout", epoch))
        model.train()
        shuffled = batches(split, params.batch_size, params.augment, seed=params.seed, epoch=epoch)
        for i, (images, labels) in enumerate(itertools.islice(shuffled, planned)):
            _set_rate(optimizers, rate_factor(params.schedule, first + i, steps, per_epoch))
            targets = one_hot(labels, len(split.classes), params.label_smoothing)
            losses[i] = train_step(model, loss, optimizers, images, targets, bfloat16=bfloat16)
            done = min((i + 1) * params.batch_size, total)
            yield Step(epoch + 1, math.ceil(steps / per_epoch), done, total, losses[: i + 1])

        validation_loss, accuracy = _validate(model, validation, loss, params.label_smoothing)
        figures = Epoch(
            min(epoch + 1, params.epochs),
            _mean_over_images(losses, params.batch_size, total),
            validation_loss,
            accuracy,
            optimizers[0].param_groups[0]["lr"],
        )
        _check_finite(figures, model)
        if params.keep == "best" and accuracy is not None and accuracy > best_accuracy:
            best_accuracy = accuracy
            best_weights = {name: value.clone() for name, value in model.state_dict().items()}
        yield figures
    if best_weights is not None:
        model.load_state_dict(best_weights)


def _set_rate(optimizers: list[Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


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
    batched = split.images.split(VALIDATION_BATCH)
    logits = torch.cat([model(images) for images in batched])
    targets = one_hot(split.labels, len(split.classes), smoothing)
    right = (logits.argmax(1) == split.labels).sum()
    return float(loss(logits, targets)), int(right) / len(split)


def _check_finite(epoch: Epoch, model: nn.Module) -> None:
    losses = {"train loss": epoch.train_loss, "validation loss": epoch.validation_loss}
    weights = torch.stack([weight.detach().abs().max() for weight in model.parameters()])
    losses["largest weight"] = float(weights.max())
    for name, loss in losses.items():
        if loss is not None and not math.isfinite(loss):
            raise ToypipeError(
                f"the {name} is {loss} after epoch {epoch.epoch:g}, at a learning rate of"
                f" {epoch.learning_rate:g}: training has diverged. A lower train.optimizer.lr, or"
                " a warm-up, usually mends that"
            )
