"""What is measured on: the machine in words, and how much arithmetic it does at most."""

import platform
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from toypipe.compute.devices import describe

SIZE = 2048  # on a GPU four times as much
CALLS = 10


def describe_machine(device: str) -> dict[str, str]:
    """Return hardware and versions."""
    found = describe(torch.device(device))
    return {**found, "python": platform.python_version(), "system": platform.system()}


def arithmetic_limit(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a large matrix product, the best of some.

    On a CPU torch has two libraries for that, and which one is faster depends on its maker: one
    multiplies matrices, the other convolves, which with filters of one pixel is the same.

    Args:
        device: Where to multiply.
        dtype: Of the matrices.
    """
    size = SIZE if device.type == "cpu" else 4 * SIZE
    matrix = torch.randn(size, size, device=device).to(dtype)
    images = matrix.T.contiguous().view(1, size, 32, size // 32)
    images = images.to(memory_format=torch.channels_last)
    filters = matrix.view(size, size, 1, 1)
    products: list[Callable[[], Tensor]] = [
        lambda: matrix @ matrix,
        lambda: F.conv2d(images, filters),
    ]
    seconds = []
    for product in products * CALLS:
        start = time.perf_counter()
        product()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
