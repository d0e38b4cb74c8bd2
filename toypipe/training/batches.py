"""The batches of an epoch: shuffled and augmented on the device."""

import math

import torch
from torch import Tensor

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split, StoredSplit
from toypipe.data.stored import StoredImages
from toypipe.params.schema import Augment
from toypipe.training.ahead import ReadAhead
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

PART = 256  # images to sum at once


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

    With `balanced`, the classes come equally often instead. The images lie on the device, which
    the labels name, or stay in a file.

    A CUDA graph can capture `take` if they lie on the device: all its state is in tensors that are
    never replaced.
    """

    def __init__(
        self, split: Split | StoredSplit, augment: Augment, seed: int, *, balanced: bool = False
    ) -> None:
        self._split, self._augment, self._seed = split, augment, seed
        self._labels, self._balanced = split.labels.cpu(), balanced
        self._moved = augment.flip != "none" or augment.translate > 0
        count, device = len(split), split.labels.device
        self._order = torch.arange(count, device=device)
        self._mirrored = torch.zeros(count, dtype=torch.bool, device=device)
        self._shifts = torch.zeros(count, 2, dtype=torch.int64, device=device)
        # By the position in the epoch; the two above are by image.
        self._boxes = torch.zeros(count, 4, dtype=torch.int64, device=device)
        self._corners = torch.zeros(count, 2, dtype=torch.int64, device=device)
        self._portions = torch.zeros(count, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)
        self._source: Tensor | ReadAhead = (
            split.images if isinstance(split.images, Tensor) else ReadAhead(split.images, device)
        )
        self._drawn_epoch, self._drawn = -1, list[tuple[Tensor, Tensor]]()
        if augment.cutout > 0:
            self._colour = _mean_colour(split.images).to(device)

    def draw(self, epoch: int) -> None:
        """Draw an epoch, counted from 0, on the CPU: `start` has only to copy it then."""
        count, size = len(self._split), self._split.size
        augment, seed = self._augment, self._seed
        order = draw_order(self._labels, balanced=self._balanced, seed=seed, epoch=epoch)
        drawn = [(self._order, order)]
        if self._moved:
            drawn.append((self._mirrored, draw_mirrored(count, augment, seed, epoch)))
            drawn.append((self._shifts, draw_shifts(count, augment, seed, epoch)))
        if augment.crop < 1:
            drawn.append((self._boxes, draw_boxes(count, size, augment, seed, epoch)))
        if augment.cutout > 0:
            drawn.append((self._corners, draw_corners(count, size, augment, seed, epoch)))
        if augment.mixup > 0:
            drawn.append((self._portions, draw_portions(count, augment, seed, epoch)))
        if self._taken.is_cuda:  # from pinned memory, a copy waits for nothing
            drawn = [(lasting, values.pin_memory()) for lasting, values in drawn]
        self._drawn_epoch, self._drawn = epoch, drawn

    def start(self, epoch: int, taken: int = 0) -> None:
        """Start an epoch, counted from 0, or resume it after so many images were taken."""
        if self._drawn_epoch != epoch:
            self.draw(epoch)
        for lasting, values in self._drawn:
            lasting.copy_(values, non_blocking=True)
        self._taken.fill_(taken)
        if isinstance(self._source, ReadAhead):
            self._source.start(self._drawn[0][1], taken)

    def take(self, count: int, part: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor | None]:
        """Take the next `count` images of the epoch; return a part of them, for `mix` with mixup.

        The images are uint8 of shape (n, 3, size, size) in channels_last memory, labels int64 (n,).
        With mixup, one image more and each image's portion follow, float32 (n,); else None. So no
        mixture depends on where a batch, or a process's part of it, ends.
        """
        positions = torch.arange(count, device=self._taken.device)[part] + self._taken
        self._taken += count
        portions = None
        mixed = self._augment.mixup > 0
        if mixed:
            portions = self._portions[positions]
            # The last image of the epoch is mixed with the first.
            positions = torch.cat([positions, positions[-1:] + 1]) % len(self._split)
        index = self._order.index_select(0, positions)
        images, places = self._source, index
        if isinstance(images, ReadAhead):
            images = images.take(count, part, more=int(mixed))
            places = torch.arange(len(index), device=index.device)
        return (
            self._augmented(images, places, index, positions),
            self._split.labels.index_select(0, index),
            portions,
        )

    def _augmented(
        self, images: Tensor, places: Tensor, index: Tensor, positions: Tensor
    ) -> Tensor:
        """Return the images at these places, by their number and their position in the epoch."""
        if self._moved:
            mirrored, shifts = self._mirrored[index], self._shifts[index]
            images = mirror_and_shift(images, places, mirrored, shifts)
        else:
            pixels = images.permute(0, 2, 3, 1)  # contiguous: an image is one block
            images = pixels.index_select(0, places).permute(0, 3, 1, 2)
        if self._augment.crop < 1:
            images = crop(images, self._boxes[positions])
        if self._augment.cutout > 0:
            corners = self._corners[positions]
            images = cut_out(images, corners, self._augment.cutout, self._colour)
        return images


def _mean_colour(images: Tensor | StoredImages) -> Tensor:
    """Return the mean colour of all images, rounded: uint8 of shape (3,)."""
    # In parts: torch sums bytes in a copy that is eight times as large.
    parts = range(0, len(images), PART)
    sums = [images[start : start + PART].sum((0, 2, 3), dtype=torch.int64) for start in parts]
    return (torch.stack(sums).sum(0) / (len(images) * images.shape[-1] ** 2)).round().byte()
