"""Read CIFAR-10, downloading it where it is not at hand."""

from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch

from toypipe.errors import ToypipeError
from toypipe.split import Split

ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
ARCHIVE_BYTES = 170_498_071
EXTRACTED = "cifar-10-batches-py"
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def read_cifar10(raw: Path) -> tuple[Split, Split]:
    """Return the training and the test images.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Args:
        raw: The folder that holds the data set, extracted or as the archive; where it is neither,
            it is downloaded to. torchvision checks every file's md5.

    Returns:
        50,000 and 10,000 images, on the CPU, in the order of the archive.

    Raises:
        ToypipeError: It is neither there nor to be had.
    """
    from torchvision.datasets import CIFAR10  # nothing else here needs torchvision

    try:
        halves = [CIFAR10(str(raw), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ToypipeError(
            f"CIFAR-10 is not whole in {raw}, and could not be downloaded ({reason}). Without a"
            f" network, put {ARCHIVE} there ({ARCHIVE_BYTES:,} bytes, md5 {ARCHIVE_MD5}; from"
            f" {PAGE}), or the folder {EXTRACTED} that it unpacks to"
        ) from None
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
