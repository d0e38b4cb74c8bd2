"""The handwritten digits of scikit-learn as a data set of this pipeline."""

import sys

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from toypipe.data.digits import read_digits
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.params.rules import CLASSES, IMAGES, KNOWN, SIZE


def _enlarged() -> Tensor:
    """Return scikit-learn's images at 32 pixels, resized by torch: (1797, 1024), 0..255."""
    levels = torch.from_numpy(load_digits().images).float()
    grey = (levels * 255 / 16).round()[:, None]
    for size in ((8, 32), (32, 32)):  # Pillow rounds and clips between the two directions
        grey = F.interpolate(grey, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    return grey.flatten(1)


def _original(split: Split) -> list[int]:
    """Return which of scikit-learn's images each image is."""
    distances = torch.cdist(split.images[:, 0].flatten(1).float(), _enlarged(), p=torch.inf)
    assert distances.min(1).values.max() <= 2  # of 255: both round, twice
    return distances.argmin(1).tolist()


def test_each_image_of_scikit_learn_is_in_one_split_with_its_label() -> None:
    """No image is lost, doubled, or shared by training and test."""
    train, test = read_digits()
    originals = _original(train) + _original(test)
    labels = torch.cat([train.labels, test.labels]).tolist()

    assert (len(train), len(test)) == (1437, 360)
    assert sorted(originals) == list(range(1797))
    assert labels == load_digits().target[originals].tolist()
    assert [train.classes[label] for label in labels] == [str(label) for label in labels]


def test_grey_becomes_three_equal_channels_of_32_pixels() -> None:
    """The images are stored as those of every other data set."""
    train, test = read_digits()

    for split in (train, test):
        assert split.images.shape[1:] == (3, 32, 32)
        assert split.images.is_contiguous(memory_format=torch.channels_last)
        assert (split.images == split.images[:, :1]).all()
    assert train.images.max() == 255


def test_the_split_never_changes() -> None:
    """The same images are for the test in every call."""
    assert _original(read_digits()[1]) == _original(read_digits()[1])


def test_check_knows_size_and_number_of_the_digits() -> None:
    """`check` compares the parameters with the facts."""
    train, _ = read_digits()

    assert KNOWN["digits"] == {SIZE: train.size, IMAGES: len(train), CLASSES: 10}


def test_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small install lacks it; the message says how to get it."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ToypipeError, match="pip install scikit-learn"):
        read_digits()
