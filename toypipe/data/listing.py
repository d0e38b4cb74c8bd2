"""The files of a folder of one's own images, by class: listed in moments, without reading them."""

import hashlib
import os
import re
from pathlib import Path

from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Folder, SplitFolder

# The target of a link by which DVC, with `cache.type symlink`, puts a file of its cache in place.
CACHED = re.compile(r"[/\\][0-9a-f]{2}[/\\][0-9a-f]{30}$")
SHOWN = 10  # links to list; the others are counted
HALVES = ("train", "test")
Files = dict[str, list[Path]]  # of each class, in alphabetical order of classes and files


def list_images(dataset: Folder | SplitFolder) -> tuple[Files, Files]:
    """Return the training and test files of a folder of one's own; see the functions for each."""
    path = Path(dataset.path)
    if isinstance(dataset, SplitFolder):
        return split_classes(path, dataset.test_share, dataset.seed)
    return list_halves(path)


def list_halves(path: Path) -> tuple[Files, Files]:
    """Return the training and test files below `path`, which has the folders `train` and `test`.

    Both have a folder for each of the same classes. Hidden files, whose names start with a dot, are
    left out. Raises ToypipeError if a folder is missing or empty, or classes differ.
    """
    needs = (
        "your images need train/ and test/, each with one folder of images per class;"
        " prepare.dataset.name: split_folder needs one folder per class alone"
    )
    train, test = (_list_classes(path / half, needs) for half in HALVES)
    if train.keys() != test.keys():
        differences = [f"{name} is only in train" for name in train if name not in test]
        differences += [f"{name} is only in test" for name in test if name not in train]
        raise ToypipeError(
            f"{path}: train and test must have the same classes, but {', '.join(differences)}"
        )
    empty = [
        path / half / name
        for half, names in zip(HALVES, (train, test), strict=True)
        for name, files in names.items()
        if not files
    ]
    if empty:
        raise ToypipeError(*(f"{folder} has no images" for folder in empty))
    return train, test


def split_classes(path: Path, test_share: float, seed: int) -> tuple[Files, Files]:
    """Divide the files below `path`, which has a folder for each class, into training and test.

    In each class, `test_share` of the files are for the test, rounded, but at least one, and at
    least one is left to train on. A file's number is a hash of the seed and its name, and those
    with the smallest numbers are for the test: so a new file changes the half of one old file at
    most. Hidden files are left out. Raises ToypipeError if the folder is missing, or a class has
    fewer than two files.
    """
    needs = (
        "your images need one folder per class; or, with train/ and test/ above them, name folder"
    )
    files = _list_classes(path, needs)
    if few := [f"{path / name} has {len(own)}" for name, own in files.items() if len(own) < 2]:
        raise ToypipeError(
            f"each class needs an image to train on and one to test on, but {', '.join(few)}"
        )
    test = {name: _smallest(own, test_share, seed) for name, own in files.items()}
    train = {name: [file for file in own if file not in test[name]] for name, own in files.items()}
    return train, {name: sorted(own) for name, own in test.items()}


def _smallest(files: list[Path], share: float, seed: int) -> set[Path]:
    """Return the share of a class's files with the smallest numbers."""

    def number(file: Path) -> str:
        name = os.fsencode(f"{seed} {file.parent.name}/{file.name}")
        return hashlib.sha256(name).hexdigest()

    count = min(max(1, round(share * len(files))), len(files) - 1)
    return set(sorted(files, key=number)[:count])


def _list_classes(path: Path, needs: str) -> Files:
    """Return the files of each class; `needs` says what `path` must be, if it is no folder."""
    if path.name in HALVES:
        _refuse_links([path])
    if not path.is_dir():
        raise ToypipeError(f"{path} is not a folder: {needs}")
    folders = [each for each in _visible(path) if each.is_dir()]
    for folder in folders:
        if not folder.name.isprintable():  # not UTF-8, or would break a table
            raise ToypipeError(f"{path}: {folder.name!r} cannot be a class name: rename it")
    if len(folders) < 2:
        raise ToypipeError(f"{path} has {len(folders)} folders, but needs at least two classes")
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
