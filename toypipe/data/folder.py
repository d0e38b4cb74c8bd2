"""Read the user's own images, from a folder that is divided into halves, or to be divided."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from toypipe.data.listing import list_images
from toypipe.data.packing import pack
from toypipe.data.pictures import read_picture
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Folder, SplitFolder

SHOWN = 10  # problems to list; the others are counted


def read_folder(dataset: Folder | SplitFolder, scratch: Path) -> tuple[Split, Split]:
    """Return training and test images, in alphabetical order of classes and files, on the CPU.

    Images are cropped and resized to the data set's size; they lie in temporary files in the folder
    `scratch`. Hidden files, whose names start with a dot, are skipped; every other file must be an
    image.

    Raises ToypipeError if a folder is missing or empty, classes differ, files are not images, or
    one is a symbolic link.
    """
    splits: list[Split] = []
    problems: list[str] = []
    for half in list_images(dataset):
        files = [file for own in half.values() for file in own]
        images = pack(_read(files, dataset.size, problems), dataset.size, scratch)
        counts = torch.tensor([len(own) for own in half.values()])
        labels = torch.arange(len(half)).repeat_interleave(counts)
        splits.append(Split(images, labels, list(half)))
    if problems:
        if len(problems) > SHOWN:
            problems[SHOWN:] = [f"and {len(problems) - SHOWN} more"]
        raise ToypipeError(*problems, "Repair or remove them: no file is left out")
    return splits[0], splits[1]


def _read(files: list[Path], size: int, problems: list[str]) -> Iterator[Tensor]:
    """Yield the pictures in files; add a line to the problems for each that cannot be read."""
    for file in files:
        try:
            yield read_picture(file, size)
        except ToypipeError as error:
            problems.append(str(error))
