"""Augmentation: what is done to which image, and the pixels afterwards."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toypipe.compute.seeding import derive_seed, make_generator
from toypipe.params.schema import Augment

TRIES = 10  # boxes to draw for a crop, of which the first that fits is taken


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


def draw_boxes(count: int, size: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw the box that each crop shows: top, left, height, width, int64 of shape (count, 4).

    Its share of the area is uniform in `augment.crop`..1, the logarithm of its aspect uniform
    between 3/4 and 4/3 (Szegedy et al., "Going Deeper with Convolutions", 2015, section 6). Like
    torchvision's RandomResizedCrop, this gives the whole image if no box of ten fits into it.
    """
    generator = make_generator(seed, "crop", epoch)
    share, place = torch.rand(2, TRIES, count, generator=generator, dtype=torch.float64)
    corners = torch.rand(2, count, generator=generator, dtype=torch.float64)
    area = size**2 * (augment.crop + (1 - augment.crop) * share)
    aspect = ((2 * place - 1) * math.log(4 / 3)).exp()
    sides = torch.stack([area / aspect, area * aspect]).sqrt().round()
    fits = ((sides >= 1) & (sides <= size)).all(0)
    first = fits.int().argmax(0)  # of equal values, the first
    sides = torch.where(fits.any(0), sides[:, first, torch.arange(count)], size)
    return torch.cat([corners * (size - sides + 1), sides]).long().T


def draw_corners(count: int, size: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw the top left corners of the squares to cut out: int64 of shape (count, 2).

    The middle of a square is anywhere in the image, so that a part of it may lie outside.
    """
    middles = torch.randint(size, (count, 2), generator=make_generator(seed, "cutout", epoch))
    return middles - augment.cutout // 2


def draw_portions(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw each image's portion of its mixture, from Beta(m, m): float32 of shape (count,)."""
    random = np.random.default_rng(derive_seed(seed, "mixup", epoch))
    return torch.from_numpy(random.beta(augment.mixup, augment.mixup, count)).float()


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


def crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Return the part of each image in its box, at the size of the image.

    A box is never larger than the image, so this is bilinear interpolation between pixel centres.

    Args:
        images: uint8 of shape (n, 3, size, size), in channels_last memory; so is the result.
        boxes: Top, left, height, width, in pixels: int64 of shape (n, 4).
    """
    size = images.shape[-1]
    top, left, height, width = boxes.float()[:, :, None].unbind(1)
    centres = torch.arange(size, device=images.device) + 0.5
    rows, columns = (  # for grid_sample, the image reaches from -1 to 1
        (start + torch.minimum(centres * length / size, length - 0.5).clamp(min=0.5)) * (2 / size)
        - 1
        for start, length in ((top, height), (left, width))
    )
    points = [columns[:, None, :].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)]
    grid = torch.stack(points, dim=3)
    seen = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return seen.round_().to(torch.uint8, memory_format=torch.channels_last)


def cut_out(images: Tensor, corners: Tensor, side: int, colour: Tensor) -> Tensor:
    """Cover a square of each image by a colour, as far as it lies in the image.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 2017.

    Args:
        images: uint8 of shape (n, 3, size, size), in channels_last memory; so is the result.
        corners: Top and left, in pixels, of squares whose middle is in the image: int64 of shape
            (n, 2).
        side: Height and width of the squares, in pixels.
        colour: uint8 of shape (3,).
    """
    # What lies outside is moved to the border, which the square covers: its middle is inside.
    along = torch.arange(side, device=images.device)
    rows, columns = (corners[:, :, None] + along).clamp(0, images.shape[-1] - 1).unbind(1)
    pixels = images.permute(0, 2, 3, 1).clone()
    number = torch.arange(len(images), device=images.device)[:, None, None]
    pixels[number, rows[:, :, None], columns[:, None, :]] = colour
    return pixels.permute(0, 3, 1, 2)


def mix(images: Tensor, targets: Tensor, portions: Tensor) -> tuple[Tensor, Tensor]:
    """Mix each image, and its target, with the next one.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

    Args:
        images: uint8 of shape (n + 1, 3, size, size), in channels_last memory; so is the result.
        targets: Probabilities of shape (n + 1, classes).
        portions: Each image's own portion of its mixture, 0..1, of shape (n,).

    Returns n images and n targets.
    """
    own = portions[:, None, None, None]
    mixed = torch.lerp(images[1:].float(), images[:-1].float(), own)
    return mixed.round_().to(torch.uint8), torch.lerp(targets[1:], targets[:-1], portions[:, None])


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
