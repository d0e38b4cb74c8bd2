"""Labelled images as one uint8 tensor: what `prepare` writes and training reads."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from toypipe.data.files import load_archive, place_of, save_archive
from toypipe.data.stored import StoredImages
from toypipe.errors import ToypipeError

Images = TypeVar("Images", Tensor, StoredImages)
REMEDY = "`toypipe prepare` (or `dvc repro prepare`) makes it"


@dataclass(frozen=True)
class Labelled(Generic[Images]):
    """Labelled images of one size, in the memory of one device or in a file."""

    images: Images  # uint8 of shape (N, 3, size, size), values 0..255, in channels_last memory
    labels: Tensor  # int64 of shape (N,), values 0..len(classes)-1
    classes: list[str]  # the name of each class

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Width and height of the images, in pixels."""
        return self.images.shape[-1]

    def to(self, device: torch.device) -> Self:
        """Return the same images for another device; those in a file stay there."""
        images = self.images.to(device) if isinstance(self.images, Tensor) else self.images
        return replace(self, images=images, labels=self.labels.to(device))

    def image(self, place: int) -> Tensor:
        """Return one image: uint8 of shape (3, size, size)."""
        return self.images[place : place + 1][0]

    def __getitem__(self, index: Tensor) -> Self:
        """Return the images at these positions: int64 of shape (n,), on the CPU."""
        if isinstance(self.images, Tensor):
            pixels = self.images.permute(0, 2, 3, 1)  # contiguous: an image is one block of memory
            images = pixels.index_select(0, index).permute(0, 3, 1, 2)
        else:
            images = self.images.select(index)
        return replace(self, images=images, labels=self.labels[index])


Split = Labelled[Tensor]
StoredSplit = Labelled[StoredImages]


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
    content = load_archive(path, remedy=REMEDY)
    if not (_is_split(content) and _have_names(content["labels"], content["classes"])):
        raise _other(path)
    return Split(**content)


def open_split(path: Path) -> StoredSplit:
    """Read only the labels of what `save_split` wrote; errors are those of `load_split`."""
    content = load_archive(path, remedy=REMEDY, stored=True)
    if not _is_split(content):
        raise _other(path)
    images, labels = content["images"], content["labels"]
    try:
        places = [place_of(tensor, path) for tensor in (images, labels)]
    except ValueError:
        raise _other(path) from None
    held = torch.from_numpy(np.fromfile(path, np.int64, len(labels), offset=places[1]))
    if held.shape != labels.shape or not _have_names(held, content["classes"]):
        raise _other(path)
    return StoredSplit(StoredImages(path, places[0], images.shape), held, content["classes"])


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
                and are_names(names)
            )
    return False


def _have_names(labels: Tensor, classes: list[str]) -> bool:
    return 0 <= int(labels.min()) <= int(labels.max()) < len(classes)


def _other(path: Path) -> ToypipeError:
    return ToypipeError(f"{path} does not hold images, labels and classes: {REMEDY} again")
