"""The networks. Each takes uint8 images as they are stored: its first layer normalises them."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from toypipe.compute.seeding import derive_seed
from toypipe.errors import ToypipeError
from toypipe.networks.normalize import Normalize
from toypipe.networks.speedrun import build_speedrun
from toypipe.params.schema import Model, Speedrun, Torchvision, Toy


@dataclass(frozen=True)
class Shape:
    """What a network is built for."""

    size: int  # width and height of its images, in pixels
    classes: int  # number of its outputs


def build_model(params: Model, shape: Shape, normalize: Normalize, seed: int) -> nn.Module:
    """Build a network whose first layer is `normalize` and whose weights the seed decides.

    It maps uint8 images (N, 3, size, size) to logits (N, classes), on the CPU, in float32 and
    channels_last memory. torch's global generator is not changed.

    Raises ToypipeError if the network does not accept images of this size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        network = _network(params, shape)
    model = nn.Sequential(OrderedDict(normalize=normalize, network=network))
    name = params.arch if isinstance(params, Torchvision) else params.name
    require_size(model, shape.size, name, "change prepare.dataset.size or train.model")
    return model.to(memory_format=torch.channels_last)


def rebuild_model(params: Model, shape: Shape, weights: Mapping[str, Tensor]) -> nn.Module:
    """Build a network around the weights of one that `build_model` has built.

    Until the weights are known to fit, parameters are on torch's device `meta`, which gives them a
    shape and no memory. Raises RuntimeError, or another error of torch, if they do not fit.
    """

    def without_memory(_: nn.Module, __: str, parameter: nn.Parameter) -> nn.Parameter:
        return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    # `with torch.device("meta")` would apply to all tensors, and regnet computes with some.
    hook = register_module_parameter_registration_hook(without_memory)  # type: ignore[arg-type]
    try:
        network = _network(params, shape)
    finally:
        hook.remove()
    normalize = Normalize(torch.zeros(3), torch.ones(3))
    model = nn.Sequential(OrderedDict(normalize=normalize, network=network))
    weights = OrderedDict(weights)
    # Some modules of torchvision look for their version beside the weights.
    weights._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]  # noqa: SLF001
    model.load_state_dict(weights, assign=True)
    model.float().to(memory_format=torch.channels_last)
    require_size(model, shape.size, "it", "")
    return model


def _network(params: Model, shape: Shape) -> nn.Module:
    match params:
        case Toy():
            return _toy(shape)
        case Speedrun():
            return build_speedrun(params, shape.classes)
        case Torchvision(arch=arch):
            import torchvision  # slower to import than torch, and only needed here

            network: nn.Module = torchvision.models.get_model(arch, num_classes=shape.classes)
            return network


def require_size(model: nn.Module, size: int, name: str, remedy: str) -> None:
    """Raise ToypipeError, with `remedy`, unless a network in training mode accepts this size."""
    try:
        # In evaluation mode: batch norm cannot train on one image, whatever its size.
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError) as error:
        what = f"{name} does not accept images of {size} pixels ({str(error).splitlines()[0]})"
        raise ToypipeError(f"{what}: {remedy}") from None
    model.train()


def _toy(shape: Shape) -> nn.Module:
    """Return the tutorial's network, which has no activation function."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (shape.size // 8) ** 2, 64),
        nn.Linear(64, shape.classes),
    )
