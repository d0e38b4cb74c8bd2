"""Read the user's own images: `train/` and `test/`, each with one folder per class."""

import re
from pathlib import Path

import torch

from toypipe.data.pictures import read_picture
from toypipe.data.split import Split
from toypipe.errors import ToypipeError

# The target of a link by which DVC, with `cache.type symlink`, puts a file of its cache in place.
CACHED = re.compile(r"[/\\][0-9a-f]{2}[/\\][0-9a-f]{30}$")
SHOWN = 10  # problems to list; the others are counted


def read_folder(path: Path, size: int) -> tuple[Split, Split]:
    """Return training and test images, in alphabetical order of classes and files, on the CPU.

    `path` has the folders `train` and `test`; both have a folder for each of the same classes.
    Images are cropped and resized to `size` pixels in width and height. Hidden files, whose names
    start with a dot, are skipped; every other file must be an image.

    Raises ToypipeError if a folder is missing or empty, classes differ, files are not images, or
    one is a symbolic link.
    """
    halves = {half: _list(path / half) for half in ("train", "test")}
    train, test = halves.values()
    if train.keys() != test.keys():
        differences = [f"{name} is only in train" for name in train if name not in test]
        differences += [f"{name} is only in test" for name in test if name not in train]
        raise ToypipeError(
            f"{path}: train and test must have the same classes, but {', '.join(differences)}"
        )
    empty = [path / half / name for half in halves for name in train if not halves[half][name]]
    if empty:
        raise ToypipeError(*(f"{folder} has no images" for folder in empty))
    splits: list[Split] = []
    problems: list[str] = []
    for half in (train, test):
        pictures, labels = [], []
        for label, files in enumerate(half.values()):
            for file in files:
                try:
                    pictures.append(read_picture(file, size))
                    labels.append(label)
                except ToypipeError as error:
                    problems.append(str(error))
        if not problems:
            pixels = torch.stack(pictures).permute(0, 3, 1, 2)
            splits.append(Split(pixels, torch.tensor(labels), list(half)))
    if problems:
        if len(problems) > SHOWN:
            problems[SHOWN:] = [f"and {len(problems) - SHOWN} more"]
        raise ToypipeError(*problems, "Repair or remove them: no file is left out")
    return splits[0], splits[1]


def _list(half: Path) -> dict[str, list[Path]]:
    """Return the files of each class, both in alphabetical order."""
    _refuse_links([half])
    if not half.is_dir():
        raise ToypipeError(
            f"{half} is not a folder: your images need train/ and test/, each with one folder of"
            " images per class"
        )
    folders = [each for each in _visible(half) if each.is_dir()]
    for folder in folders:
        if not folder.name.isprintable():  # not UTF-8, or would break a table
            raise ToypipeError(f"{half}: {folder.name!r} cannot be a class name: rename it")
    if len(folders) < 2:
        raise ToypipeError(f"{half} has {len(folders)} folders, but needs at least two classes")
    return {folder.name: _visible(folder) for folder in folders}


def _visible(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    _refuse_links(found)
    return found


def _refuse_links(paths: list[Path]) -> None:
    """Refuse symbolic links: DVC does not look into linked folders, so it would not see a change.

    Linked files are refused, too: `dvc add` replaces them by copies, and fails where one dangles.
    """
    links = [
        path for path in paths if path.is_symlink() and not CACHED.search(str(path.readlink()))
    ]
    if links:
        more = [f"and {len(links) - SHOWN} more"] if len(links) > SHOWN else []
        raise ToypipeError(
            *(f"{path} is a symbolic link" for path in links[:SHOWN]),
            *more,
            "DVC would not notice when what it points to changes: copy the files"
            " there, or let the whole data folder be a link",
        )
