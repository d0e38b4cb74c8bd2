"""Stage `prepare`: pack the images, from the network or a folder, into one file per split."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ruamel.yaml import YAML

from toypipe.data.cifar10 import ARCHIVE, EXTRACTED, MIRRORS, read_cifar10
from toypipe.data.folder import read_folder
from toypipe.data.split import Split, save_split
from toypipe.errors import ToypipeError
from toypipe.params.schema import Folder, PrepareParams
from toypipe.pipeline.files import Writes, publish


def run(
    params: PrepareParams,
    *,
    unchanged: Callable[[], None] = lambda: None,
    url: str | None = None,
    watch: Callable[[Iterator[int]], Iterator[int]] = iter,
    raw: Path = Path("data/raw"),
    train: Writes = Path("data/prepared/train.pt"),
    test: Writes = Path("data/prepared/test.pt"),
) -> tuple[Split, Split]:
    """Read a data set and write its two halves.

    Args:
        params: The `prepare` section of params.yaml.
        unchanged: Raises if parameters, code or files have changed since they were noted.
        url: Where to download CIFAR-10 from, instead of the known mirrors.
        watch: Passes on how many bytes of a download have arrived, on its way to show them.
        raw: Where CIFAR-10 is, or is downloaded to.
        train: Where the training images go.
        test: Where the test images go.

    Returns:
        Both.

    Raises:
        ToypipeError: The images cannot be had, or are not fit.
    """
    if isinstance(params.dataset, Folder):
        _require_dependency(params.dataset.path)
        splits = read_folder(Path(params.dataset.path), params.dataset.size)
    else:
        splits = read_cifar10(_find_raw(raw), [url] if url else MIRRORS, watch)
    unchanged()  # the first time: it is strict about what was written while this was read
    with publish(train, test, unchanged=unchanged) as files:
        for file, split in zip(files, splits, strict=True):
            save_split(file, split)
    return splits


def _find_raw(raw: Path) -> Path:
    """Look in the main checkout too: an experiment's temporary workspace has no ignored files."""
    main = Path(os.environ.get("DVC_ROOT", "."), raw)
    here = any((raw / name).exists() for name in (ARCHIVE, EXTRACTED))
    return raw if here else main


def _require_dependency(folder: str) -> None:
    """Refuse, under DVC, a folder of which DVC does not know: it would not see it change."""
    if "DVC_STAGE" not in os.environ:
        return
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml")).get("stages", {})
    known = [Path(str(name)).resolve() for name in stages.get("prepare", {}).get("deps", [])]
    wanted = Path(folder).resolve()
    if not any(wanted.is_relative_to(path) for path in known):
        raise ToypipeError(
            f"prepare.dataset.path is {folder}, but DVC would not notice when it changes: add"
            f" `- {folder}` to the deps of the stage prepare in dvc.yaml"
        )
