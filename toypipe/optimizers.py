"""The optimizers: torch's own, each with the fields that params.yaml gives it."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from toypipe import eager_optim
from toypipe.muon import FilterMuon
from toypipe.params import Adam, AdamW, Muon, PlainSgd, Sgd


def build_optimizers(model: nn.Module, params: Sgd | Adam | AdamW | Muon) -> list[Optimizer]:
    """Give every trainable parameter of the model to exactly one optimizer.

    Args:
        model: Already on its final device, in channels_last memory.
        params: Which optimizer, and its own fields.

    Returns:
        One optimizer, or two for Muon. Each group remembers its rate as `initial_lr`.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    on_cuda = any(weight.is_cuda for weight in weights)
    match params:
        case Muon():
            filters = [weight for weight in weights if weight.ndim == 4]
            rest = [weight for weight in weights if weight.ndim != 4]
            muon = FilterMuon(
                filters,
                lr=params.lr,
                momentum=params.momentum,
                nesterov=params.nesterov,
                weight_decay=params.weight_decay,
            )
            optimizers = [muon, _sgd(rest, params.rest)]
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


def _sgd(weights: Iterable[nn.Parameter], params: PlainSgd) -> Optimizer:
    return eager_optim.SGD(
        weights,
        lr=params.lr,
        momentum=params.momentum,
        nesterov=params.nesterov,
        weight_decay=params.weight_decay,
        fused=True,
    )
