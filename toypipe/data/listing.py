"""The files of a folder of one's own images, by class: listed in moments, without reading them."""

from pathlib import Path

from toypipe.errors import ToypipeError

HALVES = ("train", "test")
Files = dict[str, list[Path]]  # of each class, in alphabetical order of classes and files


def list_halves(path: Path) -> tuple[Files, Files]:
    """Return the training and test files below `path`, which has the folders `train` and `test`.

    Both have a folder for each of the same classes. Hidden files, whose names start with a dot, are
    left out. Raises ToypipeError if a folder is missing or empty, or classes differ.
    """
    train, test = (list_classes(path / half) for half in HALVES)
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
        raise ToypipeError("\n".join(f"{folder} has no images" for folder in empty))
    return train, test


def list_classes(path: Path) -> Files:
    """Return the files of each class; `path` has a folder for each."""
    if not path.is_dir():
        raise ToypipeError(
            f"{path} is not a folder: your images need train/ and test/, each with one folder of"
            " images per class"
        )
    folders = [each for each in _visible(path) if each.is_dir()]
    for folder in folders:
        if not folder.name.isprintable():  # not UTF-8, or would break a table
            raise ToypipeError(f"{path}: {folder.name!r} cannot be a class name: rename it")
    if len(folders) < 2:
        raise ToypipeError(f"{path} has {len(folders)} folders, but needs at least two classes")
    return {folder.name: _visible(folder) for folder in folders}


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
