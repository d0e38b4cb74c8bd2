"""One epoch of batches: shuffled, mirrored and shifted where the images already are."""

from collections.abc import Iterator

import torch
from torch import Tensor

from toypipe.params import Augment
from toypipe.split import Split
from toypipe.streams import stream
from toypipe.views import view


def batches(
    split: Split, batch_size: int, augment: Augment, *, seed: int, epoch: int, skip: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, in an order and in variants that seed and epoch decide.

    Args:
        split: The images; the batches stay on their device.
        batch_size: Images per batch; the last may be smaller.
        augment: How images are varied.
        seed: The seed of the run.
        epoch: From 0.
        skip: Batches to leave out at the start: a run that goes on has had them.

    Yields:
        Images, uint8 of shape (n, 3, size, size), and labels, int64 of shape (n,).
    """
    device = split.images.device
    order = torch.randperm(len(split), generator=stream(seed, "order", epoch)).to(device)
    varied = augment.flip != "none" or augment.translate > 0
    if varied:
        mirrored = _mirrored(len(split), augment, seed, epoch).to(device)
        shifts = _shifts(len(split), augment, seed, epoch).to(device)
    pixels = split.images.permute(0, 2, 3, 1)  # contiguous: taking an image is copying one block
    for index in order.split(batch_size)[skip:]:
        if varied:
            images = view(split.images, index, mirrored[index], shifts[index])
        else:
            images = pixels.index_select(0, index).permute(0, 3, 1, 2)
        yield images, split.labels.index_select(0, index)


def _mirrored(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw which images are mirrored in this epoch: bool of shape (count,)."""
    match augment.flip:
        case "none":
            return torch.zeros(count, dtype=torch.bool)
        case "random":
            return torch.rand(count, generator=stream(seed, "flip", epoch)) < 0.5
        case "alternating":
            # Half start mirrored, then all turn each epoch, so that two epochs show both sides
            # of every image (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024).
            start = torch.rand(count, generator=stream(seed, "flip")) < 0.5
            return start ^ (epoch % 2 == 1)


def _shifts(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw each image's shift down and right, in pixels: int64 of shape (count, 2)."""
    most, generator = augment.translate, stream(seed, "translate", epoch)
    return torch.randint(-most, most + 1, (count, 2), generator=generator)
