"""Labelled images as one uint8 tensor: what `prepare` writes and training reads."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from toypipe.data.files import load_archive, save_archive
from toypipe.errors import ToypipeError


@dataclass(frozen=True)
class Split:
    """Labelled images of one size, all on one device."""

    images: Tensor  # uint8 of shape (N, 3, size, size), values 0..255, in channels_last memory
    labels: Tensor  # int64 of shape (N,), values 0..len(classes)-1
    classes: list[str]  # the name of each class

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Width and height of the images, in pixels."""
        return self.images.shape[-1]

    def to(self, device: torch.device) -> "Split":
        """Return the same images on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def __getitem__(self, index: Tensor) -> "Split":
        """Return the images at these positions: int64 of shape (n,), on the CPU."""
        pixels = self.images.permute(0, 2, 3, 1)  # contiguous: an image is one block of memory
        images = pixels.index_select(0, index).permute(0, 3, 1, 2)
        return replace(self, images=images, labels=self.labels[index])


def save_split(file: IO[bytes], split: Split) -> None:
    """Write a split that is on the CPU to an open file; equal splits give equal bytes."""
    images = _alone(split.images.contiguous(memory_format=torch.channels_last))
    labels = _alone(split.labels)
    save_archive(file, {"images": images, "labels": labels, "classes": split.classes})


def _alone(tensor: Tensor) -> Tensor:
    """Copy a view of larger memory: torch would save all that is behind it."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def load_split(path: Path) -> Split:
    """Read what `save_split` wrote; raise ToypipeError if it is missing, damaged or other."""
    remedy = "`toypipe prepare` (or `dvc repro prepare`) makes it"
    content = load_archive(path, remedy=remedy)
    if not _is_split(content):
        raise ToypipeError(f"{path} does not hold images, labels and classes: {remedy} again")
    return Split(**content)


def are_names(names: list[Any]) -> bool:
    """Tell whether these are names of classes: distinct, printable, not empty."""
    sound = (isinstance(name, str) and name.isprintable() and name.strip() for name in names)
    return all(sound) and len(set(names)) == len(names)


def _is_split(content: dict[str, Any]) -> bool:
    match content:
        case {"images": Tensor() as images, "labels": Tensor() as labels, "classes": list(names)}:
            return (
                len(content) == 3
                and images.device.type == labels.device.type == "cpu"
                and images.layout == labels.layout == torch.strided
                # With strides of zero, a small file could claim any number of images.
                and images.is_contiguous(memory_format=torch.channels_last)
                and labels.is_contiguous()
                and (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
                and (images.ndim, labels.ndim) == (4, 1)
                and images.shape == (len(labels), 3, images.shape[2], images.shape[2])
                and images.numel() > 0
                and 0 <= int(labels.min()) <= int(labels.max()) < len(names)
                and are_names(names)
            )
    return False
