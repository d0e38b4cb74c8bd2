"""The optimizers: torch's own, each with the fields that params.yaml gives it."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

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
            build = torch.optim.Adam if isinstance(params, Adam) else torch.optim.AdamW
            optimizers = [
                build(
                    weights,
                    lr=params.lr,
                    betas=(params.beta1, params.beta2),
                    weight_decay=params.weight_decay,
                    fused=True,
                )
            ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _sgd(weights: Iterable[nn.Parameter], params: PlainSgd) -> Optimizer:
    return torch.optim.SGD(
        weights,
        lr=params.lr,
        momentum=params.momentum,
        nesterov=params.nesterov,
        weight_decay=params.weight_decay,
        fused=True,
    )
