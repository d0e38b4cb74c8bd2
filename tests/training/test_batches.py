"""Batches: every image once an epoch, augmented, decided by seed and epoch alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from synthetic import make_split
from toypipe.data.split import Split, open_split, save_split
from toypipe.params.schema import Augment
from toypipe.training.augment import mix
from toypipe.training.batches import Batches, draw_order
from toypipe.training.losses import one_hot

PLAIN = Augment(flip="none", translate=0, crop=1.0, cutout=0, mixup=0.0)
AUGMENTED = PLAIN.model_copy(update={"flip": "random", "translate": 2})
CUT = AUGMENTED.model_copy(update={"crop": 0.3, "cutout": 3})


def _numbered(count: int, size: int = 8) -> Split:
    """Return images whose red is their number, green the row and blue the column."""
    images = torch.empty(count, size, size, 3, dtype=torch.uint8)
    images[..., 0] = torch.arange(count)[:, None, None]
    images[..., 1] = torch.arange(size)[:, None]
    images[..., 2] = torch.arange(size)
    return Split(images.permute(0, 3, 1, 2), torch.arange(count), [str(i) for i in range(count)])


def _batches(
    split: Split, size: int, augment: Augment, *, seed: int = 0, epoch: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch, the last one short where the images do not divide."""
    batches = Batches(split, augment, seed)
    batches.start(epoch)
    for taken in range(0, len(split), size):
        images, labels, _ = batches.take(min(size, len(split) - taken))
        yield images, labels


def _epoch(split: Split, augment: Augment, *, seed: int = 0, epoch: int = 0) -> Tensor:
    """Return the images of an epoch, sorted by their number."""
    images = torch.cat([batch for batch, _ in _batches(split, 7, augment, seed=seed, epoch=epoch)])
    return images[images[:, 0, 0, 0].argsort()]


def _mirrored(images: Tensor) -> Tensor:
    """Tell which numbered images are mirrored: their columns run backwards."""
    return images[:, 2, 4, 4] < images[:, 2, 4, 3]


def _order(augment: Augment = PLAIN, *, seed: int = 0, epoch: int = 0, size: int = 7) -> list[int]:
    shuffled = _batches(_numbered(40), size, augment, seed=seed, epoch=epoch)
    return torch.cat([labels for _, labels in shuffled]).tolist()


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED])
def test_every_image_comes_once_with_its_label(augment: Augment) -> None:
    """An epoch has all images in a random order, each with its label."""
    pairs = list(_batches(_numbered(40), 7, augment))
    images, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))

    assert sorted(labels.tolist()) == list(range(40))
    assert labels.tolist() != list(range(40))
    assert torch.equal(images[:, 0, 0, 0].long(), labels)


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED, CUT])
def test_batches_may_differ_in_size(augment: Augment) -> None:
    """In batches of 7 or of 3, the images have the same order and the same augmentation."""
    split = _numbered(40)
    by_seven, by_three = (
        torch.cat([images for images, _ in _batches(split, size, augment)]) for size in (7, 3)
    )

    assert torch.equal(by_seven, by_three)


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED, CUT])
def test_an_epoch_can_be_resumed(augment: Augment) -> None:
    """Started with some images taken, it gives the rest, unchanged."""
    split = _numbered(40)
    whole = torch.cat([images for images, _ in _batches(split, 8, augment, epoch=3)])
    rest = Batches(split, augment, seed=0)
    rest.start(3, taken=16)

    assert torch.equal(rest.take(24)[0], whole[16:])


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED, CUT])
def test_an_epoch_follows_from_its_number_alone(augment: Augment) -> None:
    """The epochs before it make no difference."""
    split = _numbered(40)
    batches = Batches(split, augment, seed=0)
    batches.start(0)
    batches.take(11)
    batches.start(1)

    assert torch.equal(batches.take(40)[0], next(_batches(split, 40, augment, epoch=1))[0])


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED, CUT])
def test_batches_have_the_memory_layout_of_the_stored_images(augment: Augment) -> None:
    """A batch is uint8 in channels_last memory, like the stored images."""
    images, labels = next(_batches(make_split(10), 4, augment))

    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64


def test_without_augmentation_the_pixels_are_those_stored() -> None:
    """Without augmentation only the order changes."""
    split = _numbered(40)

    assert torch.equal(_epoch(split, PLAIN), split.images)


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    """Batch size, augmentation and other draws make no difference to the order."""
    order = _order()
    torch.manual_seed(99)

    assert _order() == order
    assert _order(size=16) == order
    assert _order(AUGMENTED) == order
    assert _order(seed=1) != order
    assert _order(epoch=1) != order


def test_augmentation_depends_on_seed_and_epoch_only() -> None:
    """Repeated, an epoch has the same images; another epoch or seed has others."""
    split = _numbered(40)
    for augment in (AUGMENTED, CUT):
        images = next(_batches(split, 40, augment))[0]
        torch.manual_seed(99)

        assert torch.equal(next(_batches(split, 40, augment))[0], images)
        assert not torch.equal(next(_batches(split, 40, augment, seed=1))[0], images)
        assert not torch.equal(next(_batches(split, 40, augment, epoch=1))[0], images)


def test_batches_leave_the_global_generator_alone() -> None:
    """Augmentation does not draw from torch's global generator, which dropout uses."""
    before = torch.get_rng_state()
    _epoch(_numbered(40), AUGMENTED)

    assert torch.equal(torch.get_rng_state(), before)


def test_alternating_flip_shows_both_sides_in_two_epochs() -> None:
    """Each image changes sides every epoch; half of the images start mirrored."""
    split, augment = _numbered(200), PLAIN.model_copy(update={"flip": "alternating"})
    sides = [_mirrored(_epoch(split, augment, seed=3, epoch=epoch)) for epoch in range(4)]

    assert torch.equal(sides[1], ~sides[0])
    assert torch.equal(sides[2], sides[0])
    assert torch.equal(sides[3], sides[1])
    assert 70 < sides[0].sum() < 130


def test_random_flip_mirrors_another_half_each_epoch() -> None:
    """About 100 of 200 images are mirrored, independently in each epoch."""
    split, augment = _numbered(200), PLAIN.model_copy(update={"flip": "random"})
    first, second = (_mirrored(_epoch(split, augment, epoch=epoch)) for epoch in (0, 1))

    assert 70 < first.sum() < 130
    assert 70 < (first ^ second).sum() < 130


@pytest.mark.parametrize("flip", ["none", "random", "alternating"])
@pytest.mark.parametrize("translate", [1, 3])
def test_a_shift_is_at_most_translate(
    flip: Literal["none", "random", "alternating"], translate: int
) -> None:
    """Exactly the shifts up to `translate` occur, in both directions, independently by axis."""
    augment = PLAIN.model_copy(update={"flip": flip, "translate": translate})
    images = _epoch(_numbered(250), augment).int()
    down = images[:, 1, 4, 4] - 4
    columns = torch.where(_mirrored(images), 7 - images[:, 2, 4, 4], images[:, 2, 4, 4])
    right = columns - 4

    every = set(range(-translate, translate + 1))
    assert set(down.tolist()) == every
    assert set(right.tolist()) == every
    assert len(set(zip(down.tolist(), right.tolist(), strict=True))) == len(every) ** 2


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED, CUT])
def test_an_epoch_leaves_the_stored_images_alone(augment: Augment) -> None:
    """Batches are copies of the stored images."""
    split = _numbered(40)
    before = split.images.clone()
    for images, _ in _batches(split, 7, augment):
        images.zero_()

    assert torch.equal(split.images, before)


MIXED = CUT.model_copy(update={"mixup": 1.0})


def _mixtures(size: int, *, epoch: int = 0, parts: int = 1) -> Tensor:
    """Return the mixtures of an epoch of 40 images, in batches that several processes share."""
    batches = [Batches(_numbered(40), MIXED, seed=0) for _ in range(parts)]
    for each in batches:
        each.start(epoch)
    mixtures = []
    for taken in range(0, 40, size):
        count = min(size, 40 - taken)
        for rank, each in enumerate(batches):
            part = slice(rank * count // parts, (rank + 1) * count // parts)
            images, labels, portions = each.take(count, part)
            assert portions is not None
            mixtures.append(mix(images, one_hot(labels, 40), portions)[0])
    return torch.cat(mixtures)


@pytest.mark.parametrize(("size", "parts"), [(7, 1), (3, 1), (1, 1), (8, 2), (7, 3)])
def test_mixtures_depend_on_no_border(size: int, parts: int) -> None:
    """In batches of any size, shared by any number of processes, the mixtures are the same."""
    assert torch.equal(_mixtures(size, parts=parts), _mixtures(40))


def test_each_image_is_mixed_with_the_next() -> None:
    """A batch has one image more than portions; after the last of the epoch comes the first."""
    batches, alone = (Batches(_numbered(40), each, seed=0) for each in (MIXED, CUT))
    for each in (batches, alone):
        each.start(2)
    images, labels, portions = batches.take(40)
    unmixed, order, _ = alone.take(40)

    assert portions is not None
    assert len(portions.unique()) == 40
    assert labels.tolist() == [*order.tolist(), int(order[0])]
    assert torch.equal(images[:40], unmixed)


def test_a_square_has_the_mean_colour() -> None:
    """Cutout covers by the mean of all images, rounded: here 20, 4 and 4 (of 3.5 the even one)."""
    augment = PLAIN.model_copy(update={"cutout": 8})
    images = _numbered(41)
    batch = next(_batches(images, 41, augment))[0]

    assert (batch == torch.tensor([20, 4, 4])[:, None, None]).all(1).any()


uneven = torch.tensor([0] * 30 + [1] * 7 + [3] * 3)  # class 2 has no images


@pytest.mark.parametrize("epoch", range(3))
def test_balanced_classes_come_equally_often(epoch: int) -> None:
    """Of 40 places, each of three classes gets 13 or 14, and none of its images far more."""
    order = draw_order(uneven, balanced=True, seed=0, epoch=epoch)
    times = order.bincount(minlength=40)
    by_class = torch.zeros(4).long().index_add(0, uneven, times)

    assert sorted(by_class.tolist()) == [0, 13, 13, 14]
    for label in (0, 1, 3):
        own = times[uneven == label]
        assert own.max() - own.min() <= 1


def test_a_large_class_shows_other_images_in_each_epoch() -> None:
    """In some epochs every image has been seen."""
    orders = [draw_order(uneven, balanced=True, seed=0, epoch=epoch) for epoch in range(30)]

    assert len(torch.cat(orders).unique()) == 40
    assert set(orders[0].tolist()) != set(orders[1].tolist())


def test_a_balanced_order_is_random() -> None:
    """Each class may come at any place, and the order follows from seed and epoch."""
    order = draw_order(uneven, balanced=True, seed=0, epoch=0)
    again = draw_order(uneven, balanced=True, seed=0, epoch=0)
    first = [int(uneven[draw_order(uneven, balanced=True, seed=i, epoch=0)[0]]) for i in range(40)]

    assert torch.equal(order, again)
    assert set(first) == {0, 1, 3}


def test_classes_of_equal_size_come_as_without_balance() -> None:
    """Where there is nothing to balance, every image comes once."""
    labels = torch.arange(40) % 4

    assert draw_order(labels, balanced=True, seed=0, epoch=0).sort().values.tolist() == [*range(40)]


def test_balanced_batches_take_that_order() -> None:
    """Batches take the images in the balanced order, with their labels."""
    split = Split(_numbered(40).images, uneven, ["a", "b", "c", "d"])
    batches = Batches(split, PLAIN, seed=0, balanced=True)
    batches.start(1)
    images, labels, _ = batches.take(40)
    order = draw_order(uneven, balanced=True, seed=0, epoch=1)

    assert torch.equal(images[:, 0, 0, 0].long(), order)
    assert torch.equal(labels, uneven[order])


@pytest.mark.parametrize("augment", [PLAIN, AUGMENTED, CUT, MIXED])
@pytest.mark.parametrize(("size", "parts"), [(7, 1), (13, 1), (39, 1), (8, 2), (7, 3)])
def test_images_in_a_file_make_the_same_batches(
    augment: Augment, size: int, parts: int, tmp_path: Path
) -> None:
    """To the bit, through two epochs, with a last batch of any size, shared or not, resumed too."""
    split = make_split(40)
    with (tmp_path / "train.pt").open("wb") as file:
        save_split(file, split)
    opened = open_split(tmp_path / "train.pt")
    pairs = [(Batches(split, augment, 5), Batches(opened, augment, 5)) for _ in range(parts)]
    for epoch, begun in ((0, 0), (1, size)):
        for pair in pairs:
            for batches in pair:
                batches.start(epoch, begun)
        for taken in range(begun, 40, size):
            count = min(size, 40 - taken)
            for rank, pair in enumerate(pairs):
                part = slice(rank * count // parts, (rank + 1) * count // parts)
                ours, theirs = (batches.take(count, part) for batches in pair)
                for one, other in zip(ours, theirs, strict=True):
                    assert (one is None) == (other is None)
                    assert one is None or other is None or torch.equal(one, other)
