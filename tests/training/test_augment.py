"""Augmented images, against NumPy and torchvision."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from synthetic import make_split
from toypipe.params.schema import Augment
from toypipe.training.augment import (
    crop,
    cut_out,
    draw_boxes,
    draw_corners,
    draw_portions,
    mirror_and_shift,
    mix,
    shrink,
)

PLAIN = Augment(flip="none", translate=0, crop=1.0, cutout=0, mixup=0.0)
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


def _boxes(size: int, least: float, count: int = 4000, *, epoch: int = 0) -> Tensor:
    augment = PLAIN.model_copy(update={"crop": least})
    return draw_boxes(count, size, augment, 0, epoch)


@pytest.mark.parametrize("least", [1e-9, 0.08, 0.5, 0.99])
@pytest.mark.parametrize("size", [8, 32, 224])
def test_a_box_lies_in_the_image(size: int, least: float) -> None:
    """Whatever the share, each box has a pixel at least and does not leave the image."""
    boxes = _boxes(size, least)

    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= size).all()


@pytest.mark.parametrize("least", [0.08, 0.35])
def test_boxes_are_distributed_as_those_of_torchvision(least: float) -> None:
    """Place, height and width have the means and deviations of RandomResizedCrop's draws."""
    torch.manual_seed(0)
    image, ratios = torch.zeros(3, 224, 224), [3 / 4, 4 / 3]
    draw = v2.RandomResizedCrop(224, scale=(least, 1)).make_params
    drawn = [draw([image]) for _ in range(4000)]
    names = ("top", "left", "height", "width")
    theirs = torch.tensor([[each[name] for name in names] for each in drawn]).double()
    ours = _boxes(224, least).double()

    assert (ours[:, 3] / ours[:, 2]).max() < ratios[1] * 1.05
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=2.5, rtol=0)
    torch.testing.assert_close(ours.std(0), theirs.std(0), atol=2.5, rtol=0)


@pytest.mark.parametrize("size", [SIZE, 24])
def test_a_crop_is_that_of_torchvision(size: int) -> None:
    """Each crop is torchvision's resized crop of floats, rounded."""
    images = make_split(60, size=size).images
    boxes = _boxes(size, 0.1, 60)
    expected = [
        v2.functional.resized_crop(image.double(), *box, size=[size, size])
        for image, box in zip(images, boxes.tolist(), strict=True)
    ]

    seen = crop(images, boxes)
    torch.testing.assert_close(seen.double(), torch.stack(expected), atol=0.501, rtol=0)


def test_a_crop_of_everything_is_the_image() -> None:
    """A box as large as the image changes no pixel, at any size."""
    for size in (8, 15, 100, 224):
        images = make_split(3, size=size).images

        assert torch.equal(crop(images, torch.tensor([[0, 0, size, size]] * 3)), images)


def test_a_square_is_cut_out_as_torchvision_erases_it() -> None:
    """Squares within the image and over its border are covered by the colour."""
    images, colour = make_split(4, size=SIZE).images, torch.tensor([9, 90, 200], dtype=torch.uint8)
    corners = torch.tensor([[2, 3], [-1, 6], [6, -1], [6, 6]])
    seen = cut_out(images, corners, 3, colour)

    for i, (top, left) in enumerate(corners.tolist()):
        place = max(top, 0), max(left, 0)
        sides = max(top + 3 - place[0], 0), max(left + 3 - place[1], 0)
        expected = v2.functional.erase(images[i], *place, *sides, colour[:, None, None])
        assert torch.equal(seen[i], expected)


def test_the_middle_of_a_square_is_anywhere_in_the_image() -> None:
    """Every pixel becomes a middle, and none outside the image does."""
    corners = draw_corners(2000, SIZE, PLAIN.model_copy(update={"cutout": 3}), 0, 0)

    assert set((corners + 1).flatten().tolist()) == set(range(SIZE))


def test_mixtures_are_those_of_torchvision() -> None:
    """With one portion for all, images and targets are those of MixUp, rounded to bytes."""
    split, portion = make_split(6, classes=3), 0.3
    targets = nn.functional.one_hot(split.labels, 3).float()
    mixup = v2.MixUp(num_classes=3)
    params = {"labels": split.labels, "batch_size": 6, "lam": 1 - portion}
    # MixUp adds the image before, and here it is the one after.
    expected = mixup.transform(split.images.float(), params).roll(-1, 0)
    expected_targets = mixup.transform(split.labels, params).roll(-1, 0)
    images = torch.cat([split.images, split.images[:1]])
    around = torch.cat([targets, targets[:1]])

    seen, mixed = mix(images, around, torch.full((6,), portion))
    torch.testing.assert_close(seen.float(), expected, atol=0.501, rtol=0)
    torch.testing.assert_close(mixed, expected_targets)


def test_a_mixture_by_hand() -> None:
    """A quarter of 200 and three quarters of 100 is 125; the whole of an image is the image."""
    images = torch.tensor([200, 100, 40], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 8, 8)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    seen, mixed = mix(images, targets, torch.tensor([0.25, 1.0]))

    assert seen[:, 0, 0, 0].tolist() == [125, 100]
    assert mixed.tolist() == [[0.25, 0.75], [0.0, 1.0]]


@pytest.mark.parametrize("parameter", [1e-9, 0.2, 1.0, 8.0, 1e9])
def test_portions_have_the_variance_of_beta(parameter: float) -> None:
    """Beta(m, m) has mean 1/2 and variance 1 / (8m + 4); no portion lies outside 0..1."""
    portions = draw_portions(20_000, PLAIN.model_copy(update={"mixup": parameter}), 0, 0)

    assert ((portions >= 0) & (portions <= 1)).all()
    assert float(portions.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(portions.var()) == pytest.approx(1 / (8 * parameter + 4), abs=0.01)


def test_what_is_done_to_pixels_keeps_type_and_layout() -> None:
    """Crops, squares and mixtures are uint8 in channels_last memory."""
    images = make_split(5).images
    colour = torch.zeros(3, dtype=torch.uint8)
    cropped = crop(images, torch.tensor([[1, 2, 9, 10]] * 5))
    covered = cut_out(images, torch.ones(5, 2).long(), 4, colour)
    mixed, _ = mix(images, torch.ones(5, 2), torch.full((4,), 0.5))

    for seen in (cropped, covered, mixed):
        assert seen.dtype == torch.uint8
        assert seen.is_contiguous(memory_format=torch.channels_last)
