"""Augmentation: which images are mirrored and shifted, and their pixels afterwards."""

import torch
from torch import Tensor

from toypipe.compute.seeding import make_generator
from toypipe.params.schema import Augment


def draw_mirrored(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw which images are mirrored in an epoch, counted from 0: bool of shape (count,)."""
    match augment.flip:
        case "none":
            return torch.zeros(count, dtype=torch.bool)
        case "random":
            return torch.rand(count, generator=make_generator(seed, "flip", epoch)) < 0.5
        case "alternating":
            # A random half starts mirrored, then all change sides each epoch, so that two epochs
            # show both sides of every image (Jordan, "94% on CIFAR-10 in 3.29 Seconds", 2024).
            start = torch.rand(count, generator=make_generator(seed, "flip")) < 0.5
            return start ^ (epoch % 2 == 1)


def draw_shifts(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw each image's shift down and right, in pixels: int64 of shape (count, 2)."""
    most, generator = augment.translate, make_generator(seed, "translate", epoch)
    return torch.randint(-most, most + 1, (count, 2), generator=generator)


def mirror_and_shift(images: Tensor, index: Tensor, mirrored: Tensor, shifts: Tensor) -> Tensor:
    """Take images, each mirrored or not and then shifted, in one step.

    A shift moves the window, not the image: (1, 0) shows what lies one pixel further down. Beyond
    the border it shows the reflected image, without repeating the border pixel. All tensors are on
    one device.

    Args:
        images: uint8 of shape (N, 3, size, size), in channels_last memory; so is the result.
        index: Which images to take: int64 of shape (n,).
        mirrored: Which of these to mirror left to right: bool of shape (n,).
        shifts: Down and right, in pixels, less than `size`: int64 of shape (n, 2).
    """
    last = images.shape[-1] - 1
    positions = torch.arange(last + 1, device=images.device)
    rows, columns = (
        last - (last - (positions + shift).abs()).abs()  # reflects what is outside 0..last
        for shift in (shifts[:, :1], shifts[:, 1:])
    )
    columns = torch.where(mirrored[:, None], last - columns, columns)
    pixels = images.permute(0, 2, 3, 1)  # the colours of a pixel are together in memory
    taken = pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    return taken.permute(0, 3, 1, 2)


def shrink(images: Tensor, size: int) -> Tensor:
    """Return uint8 images at a smaller size, by bilinear interpolation between pixel centres.

    They stay in channels_last memory. Images that have the size are returned as they are.
    """
    if size == images.shape[-1]:
        return images
    # F.interpolate would take a slower way on CUDA, to have a gradient that is not needed here.
    interpolate = torch.ops.aten.upsample_bilinear2d
    smaller: Tensor = interpolate(images.float(), [size, size], align_corners=False)
    return smaller.round_().to(torch.uint8)
