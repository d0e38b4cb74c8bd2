"""Stage `prepare`: pack the images, from the network or a folder, into one file per split."""

import os
from pathlib import Path

from ruamel.yaml import YAML

from toypipe.data.cifar10 import ARCHIVE, EXTRACTED, MIRRORS, read_cifar10
from toypipe.data.digits import read_digits
from toypipe.data.folder import read_folder
from toypipe.data.split import save_split
from toypipe.errors import ToypipeError
from toypipe.params.schema import Cifar10, Digits, Folder, PrepareParams
from toypipe.pipeline.progress import show_download
from toypipe.pipeline.stage import Stage, Writes


def run(
    stage: Stage,
    params: PrepareParams,
    *,
    url: str | None,
    raw: Path = Path("data/raw"),
    train: Writes = Path("data/prepared/train.pt"),
    test: Writes = Path("data/prepared/test.pt"),
) -> str:
    """Read a data set and write its two splits.

    CIFAR-10 is read from the folder `raw`, or downloaded there: from `url` if it is given, else
    from the known mirrors. Returns a line for the user.

    Raises ToypipeError if the images are unavailable or invalid.
    """
    match params.dataset:
        case Cifar10():
            splits = read_cifar10(_find_raw(raw), [url] if url else MIRRORS, show_download)
        case Digits():
            splits = read_digits()
        case Folder(path=path, size=size):
            _require_dependency(path)
            splits = read_folder(Path(path), size)
    stage.require_unchanged()  # now that everything is loaded
    with stage.publish(train, test) as files:
        for file, split in zip(files, splits, strict=True):
            save_split(file, split)
    training, testing = splits
    return (
        f"{len(training):,} training and {len(testing):,} test images of {training.size} by"
        f" {training.size} pixels in {len(training.classes)} classes, in {train.parent}"
    )


def _find_raw(raw: Path) -> Path:
    """Use the main checkout's folder where an experiment's workspace lacks the ignored files."""
    here = any((raw / name).exists() for name in (ARCHIVE, EXTRACTED))
    return raw if here else Path(os.environ.get("DVC_ROOT", "."), raw)


def _require_dependency(folder: str) -> None:
    """Refuse, under DVC, a folder that dvc.yaml does not list: DVC would not see it change."""
    if "DVC_STAGE" not in os.environ:
        return
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml")).get("stages", {})
    listed = [Path(str(name)).resolve() for name in stages.get("prepare", {}).get("deps", [])]
    wanted = Path(folder).resolve()
    if not any(wanted.is_relative_to(path) for path in listed):
        raise ToypipeError(
            f"prepare.dataset.path is {folder}, but DVC would not notice when it changes: add"
            f" `- {folder}` to the deps of the stage prepare in dvc.yaml"
        )
