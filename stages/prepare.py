"""Stage `prepare`: pack the images, from the network or a folder, into one file per split."""

import os
from pathlib import Path

from toypipe.data.digits import read_digits
from toypipe.data.folder import read_folder
from toypipe.data.published import published, read_published
from toypipe.data.split import save_split
from toypipe.params.data_sets import Digits, Folder, SplitFolder
from toypipe.params.rules import require_fit
from toypipe.params.schema import PrepareParams
from toypipe.pipeline.inputs import find_raw
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

    A published data set is read from the folder `raw`, or downloaded there: CIFAR-10 from `url` if
    it is given, else from the known sources. Returns a line for the user.

    Raises ToypipeError if the images are unavailable or invalid, or under DVC too few to train on.
    """
    match params.dataset:
        case Digits():
            splits = read_digits()
        case Folder() | SplitFolder() as dataset:
            stage.require_listed("prepare.dataset.path", Path(dataset.path))
            splits = read_folder(dataset, scratch=train.parent)
        case dataset:
            entry = published(dataset, url)
            splits = read_published(entry, find_raw(raw, *entry.names), show_download)
    training, testing = splits
    if "DVC_STAGE" in os.environ:  # `train` follows, and DVC removes its outputs before it runs
        require_fit(
            stage.params.train,
            size=training.size,
            images=len(training),
            classes=len(training.classes),
            place=stage.place,
        )
    stage.require_unchanged()  # now that everything is loaded
    with stage.publish(train, test) as files:
        for file, split in zip(files, splits, strict=True):
            save_split(file, split)
    return (
        f"{len(training):,} training and {len(testing):,} test images of {training.size} by"
        f" {training.size} pixels in {len(training.classes)} classes, in {train.parent}"
    )
