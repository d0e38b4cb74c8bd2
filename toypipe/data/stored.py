"""Images that stay in their file, because memory does not hold them: read as they are asked for."""

import os
from copy import copy
from io import BufferedReader
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from toypipe.errors import InputsChangedError
from toypipe.params.regular import open_regular


class StoredImages:
    """Some images of a file, in an order of their own: uint8 of shape (N, 3, size, size).

    The system keeps as much of the file in memory as is free, for all processes together. The file
    is read, not mapped into memory: where a mapped file is cut, the process is killed.
    """

    def __init__(self, path: Path, offset: int, shape: torch.Size) -> None:
        """Name a file whose images begin at an offset, in channels_last memory."""
        self._path, self._offset, self._shape = path, offset, shape
        self._places = torch.arange(shape[0])
        with open_regular(path) as file:
            self._stamp = _stamp(file)

    @property
    def shape(self) -> torch.Size:
        """N, 3, size, size."""
        return torch.Size([len(self._places), *self._shape[1:]])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, part: slice) -> Tensor:
        """Read images that follow each other."""
        return self.read(torch.arange(len(self))[part])

    def select(self, index: Tensor) -> Self:
        """Return the images at these positions, int64 of shape (n,), without reading them."""
        chosen = copy(self)
        chosen._places = self._places[index]  # noqa: SLF001 - of the same class
        return chosen

    def read(self, index: Tensor, *, pinned: bool = False) -> Tensor:
        """Read images by their positions, int64 of shape (n,), on the CPU.

        Returns uint8 of shape (n, 3, size, size), in channels_last memory, `pinned` for a GPU to
        copy. Raises InputsChangedError if the file is no longer the one that was there at first.
        """
        _, channels, height, width = self._shape
        shape = (len(index), height, width, channels)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        length = height * width * channels
        try:
            with open_regular(self._path) as file:
                for image, place in zip(pixels.numpy(), self._places[index].tolist(), strict=True):
                    file.seek(self._offset + place * length)
                    file.readinto(image)
                now = _stamp(file)
        except FileNotFoundError:
            now = None
        if now != self._stamp:
            raise InputsChangedError(
                f"{self._path} was written to, replaced or removed while images were read from it:"
                " restore it, or let `toypipe prepare` (or `dvc repro prepare`) make it again"
            )
        return pixels.permute(0, 3, 1, 2)


def _stamp(file: BufferedReader) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino
