"""Handwritten digits that come with scikit-learn: a data set without a download."""

import numpy as np
import torch
from PIL import Image

from toypipe.data.split import Split
from toypipe.errors import ToypipeError

SIZE = 32  # pixels, in width and height; the originals have 8
TEST = 360  # images, a fifth
DARKEST = 16  # the originals have 17 levels


def read_digits() -> tuple[Split, Split]:
    """Return 1,437 training and 360 test images, on the CPU; which are which never changes.

    Source: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998; of its two files scikit-learn has the smaller one.

    Raises ToypipeError if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ToypipeError(
            "prepare.dataset.name is digits, which come with scikit-learn, but it is not installed:"
            " pip install scikit-learn"
        ) from None
    digits = load_digits()
    grey = (digits.images * 255 / DARKEST).round().astype(np.uint8)
    pixels = np.stack([_enlarged(image) for image in grey])
    images = torch.from_numpy(pixels)[..., None].repeat(1, 1, 1, 3).permute(0, 3, 1, 2)
    split = Split(images, torch.from_numpy(digits.target), [str(i) for i in range(10)])
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    return split[order[TEST:].sort().values], split[order[:TEST].sort().values]


def _enlarged(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
