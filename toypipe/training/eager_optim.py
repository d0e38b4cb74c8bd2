"""torch's optimizers for training that is not compiled: they do not import torch's compiler."""

import inspect

import torch


class Optimizer(torch.optim.Optimizer):
    """torch.optim.Optimizer with its methods as they are beneath their decorator.

    That hides them from torch's compiler, and to do so imports the compiler at the first call,
    which takes a second or more. `inspect.unwrap` follows `__wrapped__`, by which Python's
    decorators show what they wrap; where nothing is wrapped, it returns what it is given.
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
