"""The batches of an epoch: shuffled and augmented on the device that has the images."""

import torch
from torch import Tensor

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split
from toypipe.params.schema import Augment
from toypipe.training.augment import draw_mirrored, draw_shifts, mirror_and_shift


class Batches:
    """Every image once an epoch; the seed and the epoch decide order and augmentation.

    A CUDA graph can capture `take`: all its state is in tensors that are never replaced.
    """

    def __init__(self, split: Split, augment: Augment, seed: int) -> None:
        self._split, self._augment, self._seed = split, augment, seed
        self._augmented = augment.flip != "none" or augment.translate > 0
        device = split.images.device
        self._pixels = split.images.permute(0, 2, 3, 1)  # contiguous: an image is one block
        self._order = torch.arange(len(split), device=device)
        self._mirrored = torch.zeros(len(split), dtype=torch.bool, device=device)
        self._shifts = torch.zeros(len(split), 2, dtype=torch.int64, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)

    def start(self, epoch: int, taken: int = 0) -> None:
        """Start an epoch, counted from 0, or resume it after so many images were taken."""
        count, seed = len(self._split), self._seed
        self._order.copy_(torch.randperm(count, generator=make_generator(seed, "order", epoch)))
        if self._augmented:
            self._mirrored.copy_(draw_mirrored(count, self._augment, seed, epoch))
            self._shifts.copy_(draw_shifts(count, self._augment, seed, epoch))
        self._taken.fill_(taken)

    def take(self, count: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Take the next `count` images of the epoch, and return a part of them, with labels.

        The images are uint8 of shape (n, 3, size, size) in channels_last memory, labels int64 (n,).
        """
        positions = torch.arange(count, device=self._taken.device) + self._taken
        index = self._order.index_select(0, positions[part])
        self._taken += count
        if self._augmented:
            mirrored, shifts = self._mirrored[index], self._shifts[index]
            images = mirror_and_shift(self._split.images, index, mirrored, shifts)
        else:
            images = self._pixels.index_select(0, index).permute(0, 3, 1, 2)
        return images, self._split.labels.index_select(0, index)
