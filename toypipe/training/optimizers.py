"""The optimizers: torch's own and Muon, each with the fields that params.yaml gives it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from toypipe.params.schema import Adam, Muon, PlainSgd, Sgd
from toypipe.training import eager_optim
from toypipe.training.muon import FilterMuon


def build_optimizers(model: nn.Module, params: Sgd | Adam | Muon) -> list[Optimizer]:
    """Give every trainable parameter of a model to exactly one optimizer.

    Returns one optimizer, or two for Muon; each group keeps its rate as `initial_lr`. The model is
    on its final device, in channels_last memory.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    weights = list(named.values())
    on_cuda = any(weight.is_cuda for weight in weights)
    optimizers: list[Optimizer]
    match params:
        case Muon():
            filters = [weight for weight in weights if weight.ndim == 4]
            others = {name: weight for name, weight in named.items() if weight.ndim != 4}
            biases = [weight for name, weight in others.items() if name.endswith("bias")]
            rest = [weight for name, weight in others.items() if not name.endswith("bias")]
            groups: list[dict[str, Any]] = [
                {"params": rest},
                {"params": biases, "lr": params.bias_lr, "weight_decay": 0.0},
            ]
            fields = params.model_dump(exclude={"name", "bias_lr", "rest"})
            optimizers = [FilterMuon(filters, **fields), _sgd(groups, params.rest)]
        case Sgd():
            optimizers = [_sgd(weights, params)]
        case Adam():
            build = eager_optim.Adam if params.name == "adam" else eager_optim.AdamW
            fields = params.model_dump(include={"lr", "weight_decay"})
            betas = (params.beta1, params.beta2)
            optimizers = [build(weights, **fields, betas=betas, fused=True, capturable=on_cuda)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            if on_cuda:  # a captured step reads its rate from the same memory each time
                group["lr"] = torch.tensor(group["lr"], device=weights[0].device)
    return optimizers


def set_rates(optimizers: Iterable[Optimizer], factor: float | torch.Tensor) -> None:
    """Set every group's rate for the next step: its first rate times the schedule's factor.

    A factor in the device's memory is not read by the host.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if isinstance(factor, torch.Tensor):
                torch.mul(factor, group["initial_lr"], out=group["lr"])
            else:
                group["lr"] = group["initial_lr"] * factor


def _sgd(weights: Iterable[nn.Parameter] | Iterable[dict[str, Any]], params: PlainSgd) -> Optimizer:
    return eager_optim.SGD(weights, **params.model_dump(exclude={"name"}), fused=True)
