"""The batches of an epoch: shuffled, mirrored and shifted where the images already are."""

import torch
from torch import Tensor

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split
from toypipe.params.schema import Augment
from toypipe.training.augment import view


class Batches:
    """Every image once an epoch, in an order and in variants that seed and epoch decide.

    What is drawn for an epoch, and how far it has come, lies in tensors on the images' device that
    are never replaced: so taking a batch is work for the device alone.
    """

    def __init__(self, split: Split, augment: Augment, seed: int) -> None:
        """Prepare epochs, of which none has begun.

        Args:
            split: The images; the batches stay on their device.
            augment: How images are varied.
            seed: The seed of the run.
        """
        self._split, self._augment, self._seed = split, augment, seed
        device = split.images.device
        self._pixels = split.images.permute(0, 2, 3, 1)  # contiguous: an image is one block
        self._order = torch.arange(len(split), device=device)
        self._mirrored = torch.zeros(len(split), dtype=torch.bool, device=device)
        self._shifts = torch.zeros(len(split), 2, dtype=torch.int64, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)

    def start(self, epoch: int, taken: int = 0) -> None:
        """Begin an epoch, or go on with one.

        Args:
            epoch: From 0.
            taken: How many of its images were taken before.
        """
        count, seed = len(self._split), self._seed
        order = torch.randperm(count, generator=make_generator(seed, "order", epoch))
        self._order.copy_(order)
        if self._varied:
            self._mirrored.copy_(_mirrored(count, self._augment, seed, epoch))
            self._shifts.copy_(_shifts(count, self._augment, seed, epoch))
        self._taken.fill_(taken)

    def take(self, count: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the next images of the epoch.

        Args:
            count: How many are used up; not more than are left.
            part: Which of them are wanted.

        Returns:
            n images, uint8 of shape (n, 3, size, size) in channels_last memory, and labels, int64
            of shape (n,).
        """
        places = torch.arange(count, device=self._taken.device) + self._taken
        index = self._order.index_select(0, places[part])
        self._taken += count
        if self._varied:
            images = view(self._split.images, index, self._mirrored[index], self._shifts[index])
        else:
            images = self._pixels.index_select(0, index).permute(0, 3, 1, 2)
        return images, self._split.labels.index_select(0, index)

    @property
    def _varied(self) -> bool:
        return self._augment.flip != "none" or self._augment.translate > 0


def _mirrored(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw which images are mirrored in this epoch: bool of shape (count,)."""
    match augment.flip:
        case "none":
            return torch.zeros(count, dtype=torch.bool)
        case "random":
            return torch.rand(count, generator=make_generator(seed, "flip", epoch)) < 0.5
        case "alternating":
            # Half start mirrored, then all turn each epoch, so that two epochs show both sides
            # of every image (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024).
            start = torch.rand(count, generator=make_generator(seed, "flip")) < 0.5
            return start ^ (epoch % 2 == 1)


def _shifts(count: int, augment: Augment, seed: int, epoch: int) -> Tensor:
    """Draw each image's shift down and right, in pixels: int64 of shape (count, 2)."""
    most, generator = augment.translate, make_generator(seed, "translate", epoch)
    return torch.randint(-most, most + 1, (count, 2), generator=generator)
