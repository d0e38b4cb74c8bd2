"""Read the user's own images, from a folder that is divided into halves, or to be divided."""

import torch

from toypipe.data.listing import list_images
from toypipe.data.pictures import read_picture
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Folder, SplitFolder

SHOWN = 10  # problems to list; the others are counted


def read_folder(dataset: Folder | SplitFolder) -> tuple[Split, Split]:
    """Return training and test images, in alphabetical order of classes and files, on the CPU.

    Images are cropped and resized to the data set's size. Hidden files, whose names start with a
    dot, are skipped; every other file must be an image.

    Raises ToypipeError if a folder is missing or empty, classes differ, files are not images, or
    one is a symbolic link.
    """
    splits: list[Split] = []
    problems: list[str] = []
    for half in list_images(dataset):
        files = [file for own in half.values() for file in own]
        pixels = torch.empty(len(files), dataset.size, dataset.size, 3, dtype=torch.uint8)
        for i, file in enumerate(files):
            try:
                pixels[i] = read_picture(file, dataset.size)
            except ToypipeError as error:
                problems.append(str(error))
        counts = torch.tensor([len(own) for own in half.values()])
        labels = torch.arange(len(half)).repeat_interleave(counts)
        splits.append(Split(pixels.permute(0, 3, 1, 2), labels, list(half)))
    if problems:
        if len(problems) > SHOWN:
            problems[SHOWN:] = [f"and {len(problems) - SHOWN} more"]
        raise ToypipeError(*problems, "Repair or remove them: no file is left out")
    return splits[0], splits[1]
