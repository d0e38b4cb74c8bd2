"""torch's optimizers for training that is not compiled: they do not import torch's compiler."""

import inspect

import torch


class Optimizer(torch.optim.Optimizer):
    """torch.optim.Optimizer without the decorators of its methods.

    These hide the methods from torch's compiler, and import the compiler at the first call, which
    takes a second or more. `inspect.unwrap` returns the function that a decorator wraps, or the
    function itself if nothing wraps it.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class SGD(Optimizer, torch.optim.SGD):
    """torch.optim.SGD."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class Adam(Optimizer, torch.optim.Adam):
    """torch.optim.Adam."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(Optimizer, torch.optim.AdamW):
    """torch.optim.AdamW."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
