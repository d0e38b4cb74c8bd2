"""Mirrored and shifted views of images: for augmentation, and for test-time views."""

import torch
from torch import Tensor


def view(images: Tensor, index: Tensor, mirrored: Tensor, shifts: Tensor) -> Tensor:
    """Gather images, each mirrored or not and shifted, in one step.

    A shift moves the window, not the image: (1, 0) shows what lies one pixel further down. What
    comes in at the border is the image reflected there, the border pixel not repeated.

    Args:
        images: uint8 of shape (N, 3, size, size), in channels_last memory.
        index: Which to take: int64 of shape (n,).
        mirrored: Which of those to mirror left to right, before shifting: bool of shape (n,).
        shifts: Down and right, in pixels, less than `size`: int64 of shape (n, 2).

    Returns:
        uint8 of shape (n, 3, size, size), in channels_last memory. All tensors share a device.
    """
    last = images.shape[-1] - 1
    steps = torch.arange(last + 1, device=images.device)
    rows = _reflect(steps + shifts[:, :1], last)
    columns = _reflect(steps + shifts[:, 1:], last)
    columns = torch.where(mirrored[:, None], last - columns, columns)
    pixels = images.permute(0, 2, 3, 1)  # the colours of a pixel lie side by side in memory
    taken = pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    return taken.permute(0, 3, 1, 2)


def shrunk(images: Tensor, size: int) -> Tensor:
    """Return the images at a smaller size, by bilinear interpolation between pixel centres.

    Args:
        images: uint8 of shape (N, 3, at least size, the same), in channels_last memory.
        size: Width and height, in pixels.

    Returns:
        uint8 of shape (N, 3, size, size), in channels_last memory; the images themselves where
        they have that size.
    """
    if size == images.shape[-1]:
        return images
    # F.interpolate without its detour on CUDA, for the sake of a gradient that nobody asks for.
    interpolate = torch.ops.aten.upsample_bilinear2d
    smaller: Tensor = interpolate(images.float(), [size, size], align_corners=False)
    return smaller.round_().to(torch.uint8)


def _reflect(positions: Tensor, last: int) -> Tensor:
    """Reflect positions that lie outside 0..last, by up to `last`, back inside."""
    return last - (last - positions.abs()).abs()
