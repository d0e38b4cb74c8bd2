"""The optimizers: torch's own, and Muon, each with the fields that params.yaml gives it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from toypipe.params.schema import Adam, AdamW, Muon, PlainSgd, Sgd
from toypipe.training import eager_optim
from toypipe.training.muon import FilterMuon


def build_optimizers(model: nn.Module, params: Sgd | Adam | AdamW | Muon) -> list[Optimizer]:
    """Give every trainable parameter of the model to exactly one optimizer.

    Args:
        model: Already on its final device, in channels_last memory.
        params: Which optimizer, and its own fields.

    Returns:
        One optimizer, or two for Muon. Each group remembers its rate as `initial_lr`.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    weights = list(named.values())
    on_cuda = any(weight.is_cuda for weight in weights)
    match params:
        case Muon():
            filters = [weight for weight in weights if weight.ndim == 4]
            others = {name: weight for name, weight in named.items() if weight.ndim != 4}
            biases = [weight for name, weight in others.items() if name.endswith("bias")]
            rest = [weight for name, weight in others.items() if not name.endswith("bias")]
            muon = FilterMuon(
                filters,
                lr=params.lr,
                momentum=params.momentum,
                nesterov=params.nesterov,
                weight_decay=params.weight_decay,
                fixed_norm=params.fixed_norm,
            )
            groups: list[dict[str, Any]] = [
                {"params": rest},
                {"params": biases, "lr": params.bias_lr, "weight_decay": 0.0},
            ]
            optimizers = [muon, _sgd(groups, params.rest)]
        case Sgd():
            optimizers = [_sgd(weights, params)]
        case Adam() | AdamW():
            build = eager_optim.Adam if isinstance(params, Adam) else eager_optim.AdamW
            optimizers = [
                build(
                    weights,
                    lr=params.lr,
                    betas=(params.beta1, params.beta2),
                    weight_decay=params.weight_decay,
                    fused=True,
                    capturable=on_cuda,
                )
            ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            if on_cuda:  # a captured step reads its rate where it was when it was captured
                group["lr"] = torch.tensor(group["lr"], device=weights[0].device)
    return optimizers


def set_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Multiply every group's first learning rate, for the next step.

    Args:
        optimizers: Of `build_optimizers`.
        factor: Of the schedule.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = group["initial_lr"] * factor
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def _sgd(weights: Iterable[nn.Parameter] | Iterable[dict[str, Any]], params: PlainSgd) -> Optimizer:
    return eager_optim.SGD(
        weights,
        lr=params.lr,
        momentum=params.momentum,
        nesterov=params.nesterov,
        weight_decay=params.weight_decay,
        fused=True,
    )
