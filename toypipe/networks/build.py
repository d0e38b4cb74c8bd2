"""The networks. Each takes uint8 images as they are stored: normalising is its first layer."""

from dataclasses import dataclass

import torch
from torch import nn

from toypipe.compute.seeding import derive_seed
from toypipe.errors import ToypipeError
from toypipe.networks.normalize import Normalize
from toypipe.networks.speedrun import build_speedrun
from toypipe.params.schema import Speedrun, Torchvision, Toy


@dataclass(frozen=True)
class Shape:
    """What a network is built for."""

    size: int
    """Width and height of its images, in pixels."""
    classes: int
    """Number of its outputs."""


def build_model(
    params: Toy | Torchvision | Speedrun, shape: Shape, normalize: Normalize, seed: int
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        params: Which network.
        shape: The size of its images and the number of its classes.
        normalize: Its first layer.
        seed: Decides the weights; torch's global generator is left as it was.

    Returns:
        A module from uint8 images (N, 3, size, size) to logits (N, classes), on the CPU, in
        float32 and channels_last memory.

    Raises:
        ToypipeError: The network does not take images of this size.
    """
    if isinstance(params, Toy) and shape.size % 8 != 0:
        raise ToypipeError(
            f"the toy network halves its images three times, so their size must be divisible by 8,"
            f" but it is {shape.size} pixels: change prepare.dataset.size"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        match params:
            case Toy():
                network = _toy(shape)
            case Torchvision():
                network = _torchvision(params, shape)
            case Speedrun():
                network = build_speedrun(params, shape.classes)
    model = nn.Sequential()
    model.add_module("normalize", normalize)
    model.add_module("network", network)
    return model.to(memory_format=torch.channels_last)


def require_size(model: nn.Module, size: int, name: str, remedy: str) -> None:
    """Try whether a network takes images of a size; it stays as it was.

    Args:
        model: In training mode.
        size: Width and height of the images, in pixels.
        name: What to call the network.
        remedy: What to do if it does not.

    Raises:
        ToypipeError: It does not.
    """
    try:
        # In evaluation mode: batch norm refuses to train on one image, whatever its size.
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError) as error:
        what = str(error).splitlines()[0]
        message = f"{name} does not take images of {size} pixels ({what}): {remedy}"
        raise ToypipeError(message) from None
    model.train()


def _toy(shape: Shape) -> nn.Module:
    """Return the tutorial's network; there is no activation in it, and that is how it was."""
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


def _torchvision(params: Torchvision, shape: Shape) -> nn.Module:
    import torchvision  # takes longer than torch itself; only who asks for it pays

    def build() -> nn.Module:
        model: nn.Module = torchvision.models.get_model(
            params.arch, weights=None, num_classes=shape.classes
        )
        return model

    network = build()
    remedy = "change prepare.dataset.size or train.model.arch"
    require_size(network, shape.size, params.arch, remedy)
    return network
