"""A training run as it stands: all that decides how it goes on, and nothing else."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toypipe.compute import distributed


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


@dataclass
class Run:
    """A run between two steps.

    Order and augmentation of the images are drawn from (seed, epoch), so they need not be kept.
    """

    model: nn.Module
    """In the device's memory, like all tensors here."""
    optimizers: list[Optimizer]
    """They share the model's parameters among them."""
    epochs: list[Epoch] = field(default_factory=list)
    """The passes that are finished."""
    steps: int = 0
    """Steps taken in the pass under way."""
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))
    """Mean loss of each batch of the pass under way; of those to come, 0."""
    best_weights: dict[str, Tensor] | None = None
    """Those after the epoch of the highest validation accuracy, if they are what is kept."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors and plain values, for torch.save; nothing is copied.

        Where several processes train together, all of them must call this at once.
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
        """Stand where another run stood; afterwards the two cannot be told apart.

        torch's global generators are set too: dropout draws from them.

        Args:
            state: What `state_dict` returned, on any device.

        Raises:
            ValueError: It is something else; so may be any error that torch raises for that.
        """
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"] = group["lr"].to(self._device)
        self.epochs = [Epoch(*epoch) for epoch in state["epochs"]]
        self.steps = state["steps"]
        self.losses = state["losses"].to(self._device)
        if not 0 <= self.steps <= len(self.losses):
            raise ValueError(f"{self.steps} steps of {len(self.losses)}")
        if state["best_weights"] is not None:
            self.best_weights = {
                name: tensor.to(self._device) for name, tensor in state["best_weights"].items()
            }
        for name, device in self._generators().items():
            device.set_rng_state(state["generators"][distributed.rank()][name])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _generators(self) -> dict[str, Any]:
        """Return the modules that keep a global generator for the devices in use."""
        generators: dict[str, Any] = {"cpu": torch.random}
        if self._device.type != "cpu":
            generators[self._device.type] = torch.get_device_module(self._device)
        return generators
