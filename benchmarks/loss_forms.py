"""Why the losses are what they are: MSE and L1 in every form, from the same start.

    python benchmarks/loss_forms.py [EPOCHS]

Trains the default recipe on data/prepared/train.pt once for each form and prints the validation
accuracy after each epoch. On two CPU cores an epoch of one form takes some 15 seconds.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from toypipe.data.split import load_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize
from toypipe.params.file import read_params
from toypipe.training.holdout import hold_out
from toypipe.training.loop import begin, train
from toypipe.training.losses import LOSSES, Loss
from toypipe.training.state import Epoch


def mean(error: Loss, activation: str) -> Loss:
    """Average an error over images and classes."""
    return lambda logits, targets: error(_activate(logits, activation), targets)


def summed(error: Loss, activation: str) -> Loss:
    """Sum an error over the classes and average it over the images."""
    return lambda logits, targets: error(_activate(logits, activation), targets) * logits.shape[1]


def _activate(logits: Tensor, activation: str) -> Tensor:
    return logits.softmax(1) if activation == "probabilities" else logits


def main(epochs: float) -> None:
    """Train each form and print a row of a Markdown table."""
    params = read_params(Path("params.yaml"), [f"train.epochs={epochs}", "train.loss=mse"]).train
    split = load_split(Path("data/prepared/train.pt"))
    training, validation = hold_out(split, params.validation, params.seed)
    errors: dict[str, Loss] = {"MSE": F.mse_loss, "L1": F.l1_loss}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {epochs} epochs")
    print("| loss | of | over the classes | validation accuracy after each epoch |")
    print("|---|---|---|---|", flush=True)
    for name, error in errors.items():
        for activation in ("logits", "probabilities"):
            for reduce in (mean, summed):
                LOSSES["mse"] = reduce(error, activation)
                normalize = Normalize(torch.zeros(3), torch.ones(3))
                shape = Shape(split.size, len(split.classes))
                model = build_model(params.model, shape, normalize, params.seed)
                run = train(begin(model, params), training, validation, params)
                accuracies = [
                    f"{event.validation_accuracy:.3f}" for event in run if isinstance(event, Epoch)
                ]
                over = " ".join(accuracies)
                print(f"| {name} | {activation} | {reduce.__name__} | {over} |", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5)
