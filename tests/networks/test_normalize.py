"""Normalising: from stored bytes to the numbers a network computes with."""

from typing import Literal

import numpy as np
import pytest
import torch

from synthetic import make_split
from toypipe.networks.normalize import build_normalize


def test_unit_maps_bytes_to_fractions() -> None:
    """Each of the 256 values becomes its 255th, as in the tutorial; 255 becomes exactly one."""
    values = torch.arange(256, dtype=torch.uint8)
    images = values.view(1, 1, 16, 16).expand(1, 3, 16, 16)
    numbers = build_normalize("unit", images)(images)[0, 1].flatten()

    assert numbers.dtype == torch.float32
    assert numbers[0] == 0
    assert numbers[255] == 1
    torch.testing.assert_close(numbers, values / 255)


def test_standard_gives_each_channel_mean_zero_and_deviation_one() -> None:
    """Each channel has mean 0 and deviation 1 over the images that the layer was built from."""
    images = make_split(30).images
    numbers = build_normalize("standard", images)(images).double()

    torch.testing.assert_close(numbers.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    deviation = numbers.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.ones(3).double(), atol=1e-6, rtol=0)


def test_standard_uses_the_mean_and_deviation_of_numpy() -> None:
    """Other images are scaled by NumPy's mean and deviation of the first ones."""
    images, others = make_split(30).images, make_split(4, seed=1).images
    pixels = images.numpy() / 255
    mean = pixels.mean((0, 2, 3), keepdims=True)
    expected = (others.numpy() / 255 - mean) / pixels.std((0, 2, 3), keepdims=True)

    numbers = build_normalize("standard", images)(others).numpy()
    np.testing.assert_allclose(numbers, expected, atol=1e-5)


def test_a_channel_that_hardly_varies_is_not_blown_up() -> None:
    """A constant channel becomes zero, and one odd pixel in it stays within a byte's range."""
    images = make_split(30).images.clone()
    images[:, 1] = 200
    images[:, 2] = 100
    images[0, 2, 0, 0] = 101
    numbers = build_normalize("standard", images)(images)

    assert numbers.isfinite().all()
    assert numbers[:, 1].abs().max() < 1e-4
    assert numbers[:, 2].abs().max() <= 1


@pytest.mark.parametrize("kind", ["unit", "standard"])
def test_normalising_leaves_the_stored_images_alone(kind: Literal["unit", "standard"]) -> None:
    """The training set is normalised batch by batch, never in place."""
    images = make_split(6).images
    before = images.clone()
    build_normalize(kind, images)(images)

    assert torch.equal(images, before)
