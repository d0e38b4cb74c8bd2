"""The batches of an epoch: shuffled and augmented on the device that has the images."""

import math

import torch
from torch import Tensor

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split
from toypipe.params.schema import Augment
from toypipe.training.augment import (
    crop,
    cut_out,
    draw_boxes,
    draw_corners,
    draw_mirrored,
    draw_portions,
    draw_shifts,
    mirror_and_shift,
)


def count_batches(images: int, batch_size: int) -> int:
    """Return the number of batches of an epoch; the last one has what is left.

    One image alone joins the batch before it, because batch norm cannot learn from one.
    """
    alone = batch_size > 1 and images % batch_size == 1
    return max(1, math.ceil(images / batch_size) - alone)


def draw_order(labels: Tensor, *, balanced: bool, seed: int, epoch: int) -> Tensor:
    """Draw the order of the images in an epoch: their numbers, int64 of shape (count,).

    Each image comes once. If `balanced`, each class comes equally often: in turn, as often as
    needed, come the images of a small class, and of a large class others in each epoch. The labels
    are on the CPU.
    """
    count, generator = len(labels), make_generator(seed, "order", epoch)
    order = torch.randperm(count, generator=generator)
    if not balanced:
        return order
    classes = [order[labels[order] == label] for label in labels.unique()]
    most = math.ceil(count / len(classes))
    repeated = [own.repeat(math.ceil(most / len(own)))[:most] for own in classes]
    # The images of all classes in turn, up to the length of the epoch.
    drawn = torch.stack(repeated, dim=1).flatten()[:count]
    return drawn[torch.randperm(count, generator=generator)]


class Batches:
    """Every image once an epoch; the seed and the epoch decide order and augmentation.

    With `balanced`, the classes come equally often instead.

    A CUDA graph can capture `take`: all its state is in tensors that are never replaced.
    """

    def __init__(
        self, split: Split, augment: Augment, seed: int, *, balanced: bool = False
    ) -> None:
        self._split, self._augment, self._seed = split, augment, seed
        self._labels, self._balanced = split.labels.cpu(), balanced
        self._moved = augment.flip != "none" or augment.translate > 0
        count, device = len(split), split.images.device
        self._pixels = split.images.permute(0, 2, 3, 1)  # contiguous: an image is one block
        self._order = torch.arange(count, device=device)
        self._mirrored = torch.zeros(count, dtype=torch.bool, device=device)
        self._shifts = torch.zeros(count, 2, dtype=torch.int64, device=device)
        # By the position in the epoch; the two above are by image.
        self._boxes = torch.zeros(count, 4, dtype=torch.int64, device=device)
        self._corners = torch.zeros(count, 2, dtype=torch.int64, device=device)
        self._portions = torch.zeros(count, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)
        if augment.cutout > 0:
            # In parts: torch sums bytes in a copy that is eight times as large.
            parts = split.images.split(256)
            sums = torch.stack([part.sum((0, 2, 3), dtype=torch.int64) for part in parts]).sum(0)
            self._colour = (sums / (count * split.size**2)).round().to(torch.uint8)

    def start(self, epoch: int, taken: int = 0) -> None:
        """Start an epoch, counted from 0, or resume it after so many images were taken."""
        count, size = len(self._split), self._split.size
        augment, seed = self._augment, self._seed
        order = draw_order(self._labels, balanced=self._balanced, seed=seed, epoch=epoch)
        self._order.copy_(order)
        if self._moved:
            self._mirrored.copy_(draw_mirrored(count, augment, seed, epoch))
            self._shifts.copy_(draw_shifts(count, augment, seed, epoch))
        if augment.crop < 1:
            self._boxes.copy_(draw_boxes(count, size, augment, seed, epoch))
        if augment.cutout > 0:
            self._corners.copy_(draw_corners(count, size, augment, seed, epoch))
        if augment.mixup > 0:
            self._portions.copy_(draw_portions(count, augment, seed, epoch))
        self._taken.fill_(taken)

    def take(self, count: int, part: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor | None]:
        """Take the next `count` images of the epoch; return a part of them, for `mix` with mixup.

        The images are uint8 of shape (n, 3, size, size) in channels_last memory, labels int64 (n,).
        With mixup, one image more and each image's portion follow, float32 (n,); else None. So no
        mixture depends on where a batch, or a process's part of it, ends.
        """
        positions = torch.arange(count, device=self._taken.device)[part] + self._taken
        self._taken += count
        portions = None
        if self._augment.mixup > 0:
            portions = self._portions[positions]
            # The last image of the epoch is mixed with the first.
            positions = torch.cat([positions, positions[-1:] + 1]) % len(self._split)
        index = self._order.index_select(0, positions)
        return (
            self._augmented(index, positions),
            self._split.labels.index_select(0, index),
            portions,
        )

    def _augmented(self, index: Tensor, positions: Tensor) -> Tensor:
        """Return images, by their number and by their position in the epoch."""
        if self._moved:
            mirrored, shifts = self._mirrored[index], self._shifts[index]
            images = mirror_and_shift(self._split.images, index, mirrored, shifts)
        else:
            images = self._pixels.index_select(0, index).permute(0, 3, 1, 2)
        if self._augment.crop < 1:
            images = crop(images, self._boxes[positions])
        if self._augment.cutout > 0:
            corners = self._corners[positions]
            images = cut_out(images, corners, self._augment.cutout, self._colour)
        return images
