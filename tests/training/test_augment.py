"""Augmented images, against naive slicing of a padded NumPy array."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from synthetic import make_split
from toypipe.training.augment import mirror_and_shift, shrink

SIZE = 8
FURTHEST = SIZE - 1


def test_a_shift_is_a_window_on_the_reflected_image() -> None:
    """All possible shifts, mirrored first or not, equal slices of NumPy's reflecting pad."""
    images = make_split(4, size=SIZE).images
    each_shift = range(-FURTHEST, FURTHEST + 1)
    wanted = list(itertools.product(range(4), (False, True), each_shift, each_shift))
    index = torch.tensor([each[0] for each in wanted])
    mirrored = torch.tensor([each[1] for each in wanted])
    seen = mirror_and_shift(
        images, index, mirrored, torch.tensor([each[2:] for each in wanted])
    ).numpy()

    for image, (i, mirror, down, right) in zip(seen, wanted, strict=True):
        original = images[i].numpy()[:, :, ::-1] if mirror else images[i].numpy()
        border = ((0, 0), (FURTHEST, FURTHEST), (FURTHEST, FURTHEST))
        padded = np.pad(original, border, mode="reflect")
        top, left = FURTHEST + down, FURTHEST + right
        assert np.array_equal(image, padded[:, top : top + SIZE, left : left + SIZE])


def test_without_mirroring_and_shift_the_image_is_unchanged() -> None:
    """Neither mirrored nor shifted, the pixels are the same, in the order of the index."""
    images, index = make_split(5).images, torch.tensor([3, 0, 3])
    seen = mirror_and_shift(
        images, index, torch.zeros(3, dtype=torch.bool), torch.zeros(3, 2).long()
    )

    assert torch.equal(seen, images[index])


def test_augmented_images_keep_type_and_layout() -> None:
    """They are uint8 in channels_last memory, like the stored images."""
    images = make_split(5).images
    seen = mirror_and_shift(
        images, torch.arange(5), torch.ones(5, dtype=torch.bool), torch.ones(5, 2).long()
    )

    assert seen.dtype == torch.uint8
    assert seen.is_contiguous(memory_format=torch.channels_last)


def test_at_half_the_size_a_pixel_is_the_mean_of_four() -> None:
    """It is NumPy's mean over squares of two by two, rounded."""
    images = make_split(5, size=16).images
    squares = images.numpy().reshape(5, 3, 8, 2, 8, 2).mean((3, 5))

    assert np.array_equal(shrink(images, 8).numpy(), np.round(squares))


@pytest.mark.parametrize("size", [8, 11, 12, 15])
def test_a_smaller_image_is_that_of_torch(size: int) -> None:
    """At any size, each pixel is torch's interpolation, rounded."""
    images = make_split(5, size=16).images
    expected = nn.functional.interpolate(images.double(), (size, size), mode="bilinear")

    torch.testing.assert_close(shrink(images, size).double(), expected, atol=0.5001, rtol=0)


def test_smaller_images_keep_type_and_layout() -> None:
    """They are uint8 in channels_last memory; at their own size they are not copied."""
    images = make_split(5).images
    smaller = shrink(images, 12)

    assert smaller.dtype == torch.uint8
    assert smaller.is_contiguous(memory_format=torch.channels_last)
    assert shrink(images, images.shape[-1]) is images
