"""The state of a training between two steps: all that decides how it continues."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toypipe.compute import distributed
from toypipe.data.files import csv_bytes


class Epoch(NamedTuple):
    """The results of one pass over the training images: a row of loss.csv."""

    epoch: float  # passes completed: 1, 2, ...; fractional if the training ends within one
    train_loss: float  # mean over its images, each measured just before the step that used it
    validation_loss: float | None  # the same, over the validation images; None without any
    validation_accuracy: float | None  # share that is classified right, 0..1; None without any
    learning_rate: float  # at the last step; of the first parameter group


def loss_table(epochs: Sequence[Epoch]) -> bytes:
    """Return loss.csv, with a row for each epoch."""
    return csv_bytes(Epoch._fields, [(f"{row.epoch:g}", *row[1:]) for row in epochs])


def out_of_patience(epochs: list[Epoch], patience: int) -> bool:
    """Tell whether the last `patience` epochs brought no better validation accuracy; 0 is never."""
    accuracies = [0.0, *(epoch.validation_accuracy or 0.0 for epoch in epochs)]
    return 0 < patience <= len(epochs) - accuracies.index(max(accuracies))


@dataclass
class TrainingState:
    """A training between two steps; with no steps left, it is finished.

    Order and augmentation of the images are drawn from (seed, epoch), so they are not part of it.
    """

    model: nn.Module  # on the device, like all tensors here
    optimizers: list[Optimizer]  # each trainable parameter of the model belongs to one of them
    epochs: list[Epoch] = field(default_factory=list)  # the results of the passes that are finished
    steps: int = 0  # steps taken in the current pass
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Mean loss of each batch of the current pass; 0 for batches to come."""
    best_weights: dict[str, Tensor] | None = None  # of the best epoch so far, if it is to be kept

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors and plain values, for torch.save; nothing is copied.

        If several processes train together, all of them must call this at the same time.
        """
        return {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "epochs": [tuple(epoch) for epoch in self.epochs],
            "steps": self.steps,
            "losses": self.losses,
            "best_weights": self.best_weights,
            "generators": distributed.all_gather(
                {name: device.get_rng_state() for name, device in self._generators().items()}
            ),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become the state that returned this dict, on any device.

        torch's global generators are set too: dropout draws from them. An invalid dict raises
        ValueError, or another error of torch.
        """
        device = next(self.model.parameters()).device
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"] = group["lr"].to(device)
        self.epochs = [Epoch(*epoch) for epoch in state["epochs"]]
        self.steps, self.losses = state["steps"], state["losses"].to(device)
        if not 0 <= self.steps <= len(self.losses):
            raise ValueError(f"{self.steps} steps of {len(self.losses)}")
        if (best := state["best_weights"]) is not None:
            self.best_weights = {name: tensor.to(device) for name, tensor in best.items()}
        for name, module in self._generators().items():
            module.set_rng_state(state["generators"][distributed.rank()][name])

    def _generators(self) -> dict[str, Any]:
        """Return the modules that have a global generator for the devices in use."""
        device = next(self.model.parameters()).device
        generators: dict[str, Any] = {"cpu": torch.random}
        if device.type != "cpu":
            generators[device.type] = torch.get_device_module(device)
        return generators
