"""Read images of one's own: `train/` and `test/`, each with one folder per class."""

from pathlib import Path

import torch

from toypipe.data.pictures import read_picture
from toypipe.data.split import Split
from toypipe.errors import ToypipeError

SHOWN = 10  # problems, before the rest is only counted


def read_folder(path: Path, size: int) -> tuple[Split, Split]:
    """Return the training and the test images of a folder.

    Hidden files, whose name begins with a dot, are passed over; every other must be an image.

    Args:
        path: A folder with `train` and `test`, which hold the same classes, a folder each.
        size: Width and height that every image is brought to, in pixels.

    Returns:
        The images in the alphabetical order of classes and files, on the CPU.

    Raises:
        ToypipeError: A folder is missing or empty, the two have different classes, or files are
            no images; lists what is wrong.
    """
    files = {half: _list(path / half) for half in ("train", "test")}
    if files["train"].keys() != files["test"].keys():
        raise ToypipeError(
            f"{path}: train and test must hold the same classes, but "
            + ", ".join(
                f"{name} is only in {half}"
                for half, other in (("train", "test"), ("test", "train"))
                for name in sorted(files[half].keys() - files[other].keys())
            )
        )
    problems = [
        f"{path / half / name} holds no image"
        for half in files
        for name, images in files[half].items()
        if not images
    ]
    if problems:
        raise ToypipeError("\n".join(problems))

    splits = []
    for half in files.values():
        pictures, labels = [], []
        for label, images in enumerate(half.values()):
            for file in images:
                try:
                    pictures.append(read_picture(file, size))
                    labels.append(label)
                except ToypipeError as error:
                    problems.append(str(error))
        if not problems:
            pixels = torch.stack(pictures).permute(0, 3, 1, 2)
            splits.append(Split(pixels, torch.tensor(labels), list(half)))
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ToypipeError(
            "\n".join(
                [*problems[:SHOWN], *more, "Repair or remove them: nothing is left out silently"]
            )
        )
    training, test = splits
    return training, test


def _list(half: Path) -> dict[str, list[Path]]:
    """Return the files of each class, both in alphabetical order."""
    if not half.is_dir():
        raise ToypipeError(
            f"{half} is not a folder: a data set of one's own has train/ and test/, each with one"
            " folder of images per class"
        )
    classes = {
        folder.name: sorted(f for f in folder.iterdir() if not f.name.startswith("."))
        for folder in sorted(half.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }
    for name in classes:
        if not name.isprintable():  # no text, or text that would break a table
            raise ToypipeError(f"{half}: the folder {name!r} is no name for a class: rename it")
    if len(classes) < 2:
        raise ToypipeError(
            f"{half} holds {len(classes)} folders: there must be one for each class, at least two"
        )
    return classes
