"""Images from a file, each batch read while the one before it is trained on."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from toypipe.data.stored import StoredImages


class ReadAhead:
    """Reads in one thread, into pinned memory if there is a GPU, which copies without waiting."""

    def __init__(self, images: StoredImages, device: torch.device) -> None:
        """Take the images, and the device to bring them to."""
        self._images, self._device = images, device
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._coming: dict[range, Future[Tensor]] = {}

    def start(self, order: Tensor, taken: int) -> None:
        """Start an epoch, or resume it after so many images.

        The order is their numbers: int64 of shape (N,), on the CPU.
        """
        self._order, self._taken = order, taken
        self._coming.clear()

    def take(self, count: int, part: slice, *, more: int) -> Tensor:
        """Take the next `count` images; return a part of them, and so many that follow it.

        Then begin to read the same part of a batch of the same size. After the last image of the
        epoch comes the first.
        """
        begin, end, _ = part.indices(count)
        wanted = range(self._taken + begin, self._taken + end + more)
        self._taken += count
        coming = self._coming.pop(wanted, None) or self._read(wanted)
        last = len(self._order) + more
        following = range(min(wanted.start + count, last), min(wanted.stop + count, last))
        self._coming = {following: self._read(following)}
        return coming.result().to(self._device, non_blocking=True)

    def _read(self, positions: range) -> Future[Tensor]:
        numbers = self._order[torch.arange(positions.start, positions.stop) % len(self._order)]
        return self._thread.submit(self._images.read, numbers, pinned=self._device.type == "cuda")
