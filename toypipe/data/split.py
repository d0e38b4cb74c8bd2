"""A set of labelled images, as `prepare` leaves it and as training wants it: one uint8 tensor."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from toypipe.data.files import load_archive, save_archive
from toypipe.errors import ToypipeError


@dataclass(frozen=True)
class Split:
    """Labelled images of one size, resident on one device."""

    images: Tensor
    """uint8 of shape (N, 3, size, size), values 0..255, in channels_last memory."""
    labels: Tensor
    """int64 of shape (N,), values 0..len(classes)-1."""
    classes: list[str]
    """The name of each class."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def size(self) -> int:
        """Width and height of the images, in pixels."""
        return self.images.shape[-1]

    def to(self, device: torch.device) -> "Split":
        """Return the same images on another device."""
        return dataclasses.replace(
            self, images=self.images.to(device), labels=self.labels.to(device)
        )

    def __getitem__(self, index: Tensor) -> "Split":
        """Return the images at these positions: int64 of shape (n,), on the CPU."""
        pixels = self.images.permute(0, 2, 3, 1)  # contiguous: taking an image is copying one block
        images = pixels.index_select(0, index).permute(0, 3, 1, 2)
        return dataclasses.replace(self, images=images, labels=self.labels[index])


def save_split(file: IO[bytes], split: Split) -> None:
    """Write a split; the bytes depend on its contents only.

    Args:
        file: An open file. By a path, torch would write the file's name into it.
        split: On the CPU.
    """
    content = {
        # Clones, for torch would save all of the memory that a view looks at.
        "images": split.images.clone(memory_format=torch.channels_last),
        "labels": split.labels.clone(),
        "classes": split.classes,
    }
    save_archive(file, content)


def load_split(path: Path) -> Split:
    """Read what `save_split` wrote.

    Raises:
        ToypipeError: The file is missing, damaged or something else.
    """
    remedy = "`toypipe prepare` (or `dvc repro prepare`) makes it"
    content = load_archive(path, remedy=remedy)
    if not _is_split(content):
        raise ToypipeError(f"{path} does not hold images, labels and classes: {remedy} anew")
    return Split(**content)


def _is_split(content: Any) -> bool:
    match content:
        case {
            "images": Tensor() as images,
            "labels": Tensor() as labels,
            "classes": list() as names,
        }:
            return (
                len(content) == len(dataclasses.fields(Split))
                and images.device.type == labels.device.type == "cpu"
                and images.layout == labels.layout == torch.strided
                and images.dtype == torch.uint8
                and images.ndim == 4
                and images.shape[1] == 3
                and images.shape[2] == images.shape[3] > 0
                and labels.dtype == torch.int64
                and labels.shape == images.shape[:1]
                and len(labels) > 0
                and 0 <= int(labels.min()) <= int(labels.max()) < len(names)
                and all(isinstance(name, str) for name in names)
            )
        case _:
            return False
